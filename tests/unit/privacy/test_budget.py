"""A row pays for every release that it may have taken part in, whatever happens to process, disk and backups."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learnae.errors import DamagedError, NotWrittenError, StateError
from learnae.privacy.budget import Ledger, Price, Span
from learnae.privacy.budget_file import FILE, RowBudget

PRICE = Price(cost=0.01, participations=5)
ROWS = np.arange(40, dtype=np.float32).reshape(20, 2)
TARGETS = np.zeros(20, np.int64)


def digests(*numbers: int) -> "np.ndarray":
    return np.array(numbers, np.uint64)


def test_a_row_leaves_after_its_releases_and_newer_ones_stay() -> None:
    ledger = Ledger((Span(0, PRICE),), 0)
    births = np.array([0, 3])
    may = [ledger.turns(digests(7, 8), births).taking_part(release).tolist() for release in (4, 5, 7, 8)]
    assert may == [[True, True], [False, True], [False, True], [False, False]]


def test_a_part_is_due_once_in_so_many_releases() -> None:
    ledger = Ledger((Span(0, Price(0.01, participations=2, parts=4)),), 0)
    rows, births = digests(0, 1, 2, 3), np.array([0, 0, 2, 5])
    taken = [release for release in range(30) for row in [ledger.turns(rows, births).taking_part(release)] if row.any()]
    per_row = [sum(ledger.turns(rows, births).taking_part(release)[row] for release in range(30)) for row in range(4)]
    assert per_row == [2, 2, 2, 2]
    assert all(ledger.turns(rows, births).taking_part(release).sum() <= 1 for release in taken)


def test_what_was_paid_at_another_price_counts() -> None:
    """A stricter epsilon lets rows leave at once that have spent more; a looser one gives them no more than is left."""
    ledger = Ledger((Span(0, PRICE),), 4)
    row, birth = digests(1), np.array([0])
    assert not ledger.at(Price(0.001, 5)).turns(row, birth).taking_part(4).any()
    looser = ledger.at(Price(0.1, 5))
    assert [looser.turns(row, birth).taking_part(release).any() for release in (7, 8)] == [True, False]
    assert looser.most_spent == pytest.approx(0.04)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.data())
def test_no_row_takes_part_more_often_than_is_said(tmp_path: Path, data: st.DataObject) -> None:
    """Rows come, releases are paid for and taken or lost, prices change, files are lost or put back from a backup."""
    home = tmp_path / os.urandom(4).hex()
    prices = [Price(0.01, 5), Price(0.02, 3, parts=2), Price(0.005, 4, parts=3)]
    price = prices[0]
    budget, published = RowBudget(home / FILE, price), 0
    rows: set[int] = set()
    truth: dict[int, float] = {}
    most = 0.0
    for _ in range(data.draw(st.integers(1, 25))):
        event = data.draw(
            st.sampled_from(["row", "row", "train", "train", "train", "crash", "backup", "restore", "price"])
        )
        if event == "row":
            rows.add(data.draw(st.integers(0, 11)))
        elif event == "train" and rows:
            known = digests(*sorted(rows))
            births = budget.enter(known)
            first = budget.pay(2)
            for release in range(first, first + data.draw(st.integers(0, 2))):
                for row in known[budget.ledger.turns(known, births).taking_part(release)].tolist():
                    truth[row] = truth.get(row, 0.0) + price.cost
                most = max(most, *truth.values(), 0.0)
            published = budget.ledger.releases
        else:
            budget.close()
            if event == "backup":
                shutil.rmtree(home / "backup", ignore_errors=True)
                (home / "backup").mkdir()
                shutil.copy(home / FILE, home / "backup")
            elif event == "restore":
                for path in home.glob(f"{FILE}*"):
                    path.unlink()
                if (home / "backup").exists():
                    shutil.copy(home / "backup" / FILE, home)
            elif event == "price":
                price = data.draw(st.sampled_from(prices))
            budget = RowBudget(home / FILE, price)
            budget.recall(published)
        assert all(spent <= max(each.limit for each in prices) * (1 + 1e-6) for spent in truth.values())
        assert most <= budget.ledger.most_spent * (1 + 1e-6)
    budget.close()


def test_a_row_that_comes_again_is_known_and_one_of_another_target_is_not(tmp_path: Path) -> None:
    budget = RowBudget(tmp_path / FILE, PRICE)
    first = budget.digests(ROWS, TARGETS)
    assert len(set(first.tolist())) == 20
    budget.enter(first)
    budget.pay(3)
    budget.close()
    again = RowBudget(tmp_path / FILE, PRICE)
    assert again.digests(ROWS, TARGETS).tolist() == first.tolist()
    assert again.enter(first).tolist() == [0] * 20
    assert again.enter(again.digests(ROWS, TARGETS + 1)).tolist() == [3] * 20
    again.close()


def test_another_directory_has_other_digests_and_its_file_is_its_owners(tmp_path: Path) -> None:
    one, other = (RowBudget(tmp_path / name / FILE, PRICE) for name in ("one", "other"))
    assert not set(one.digests(ROWS, TARGETS).tolist()) & set(other.digests(ROWS, TARGETS).tolist())
    one.enter(one.digests(ROWS, TARGETS))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "one").iterdir()} == {0o600}


PAYER = """
import sys
from pathlib import Path
import numpy as np
from learnae.privacy.budget import Price
from learnae.privacy.budget_file import RowBudget
budget = RowBudget(Path(sys.argv[1]), Price(0.01, 5))
row = 0
while True:
    row += 1
    budget.enter(np.array([row], np.uint64))
    print(row, budget.pay(1), flush=True)  # what follows is the step
"""


def test_killed_at_any_moment_no_release_is_uncounted(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    reached = -1
    for _ in range(4):
        payer = subprocess.Popen([sys.executable, "-c", PAYER, str(tmp_path / FILE)], stdout=subprocess.PIPE, text=True)
        assert payer.stdout
        for _ in range(int(rng.integers(1, 20))):
            line = payer.stdout.readline()
        payer.send_signal(signal.SIGKILL)
        taken = [line, *payer.stdout.read().splitlines()]
        payer.wait()
        row, release = map(int, taken[-1].split())
        assert release > reached  # no number is used twice
        reached = release
        budget = RowBudget(tmp_path / FILE, PRICE)
        assert budget.ledger.releases > release
        assert budget.enter(digests(row))[0] <= release
        budget.close()


def test_a_damaged_file_is_said_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    budget = RowBudget(tmp_path / FILE, PRICE)
    budget.enter(digests(*range(2000)))
    budget.close()
    path = tmp_path / FILE
    path.write_bytes(b"\0" * 4096 + path.read_bytes()[4096:])
    with pytest.raises(StateError):
        RowBudget(path, PRICE)
    path.write_bytes(b"no database at all, but long enough to be looked at by SQLite" * 100)
    with pytest.raises(DamagedError, match="in its place"):
        RowBudget(path, PRICE)


def test_a_disk_that_takes_nothing_pays_for_nothing(tmp_path: Path) -> None:
    budget = RowBudget(tmp_path / FILE, PRICE)
    budget._database.execute("PRAGMA query_only = ON")
    with pytest.raises(NotWrittenError):
        budget.pay(1)
    assert budget.ledger.releases == 0
    budget._database.execute("PRAGMA query_only = OFF")
    assert budget.pay(1) == 0
