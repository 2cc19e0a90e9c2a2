"""What rows have paid is in a backup, as it is at one moment, and comes back whole or not at all."""

import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from learnae.errors import StateError
from learnae.privacy.budget import Price
from learnae.privacy.budget_file import FILE, RowBudget
from learnae.protocol.identity import Identity
from learnae.runtime.backup import back_up, restore
from learnae.system.paths import KEY_FILE, peer_directory

PRICE = Price(cost=0.01, participations=80)


@pytest.fixture
def backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Back up a peer that goes on paying, and lose its home."""
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    peer = peer_directory("pump")
    peer.mkdir(parents=True, mode=0o700)
    Identity.load_or_create(peer / KEY_FILE)
    with closing(RowBudget(peer / FILE, PRICE)) as budget:
        budget.pay(7)  # in the write-ahead log alone
        back_up([peer], [], tmp_path / "learnae.tar")
        budget.pay(1)
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "other"))
    return tmp_path / "learnae.tar"


def test_a_budget_in_use_comes_back(backup: Path) -> None:
    (directory,), _ = restore(backup)
    with closing(RowBudget(directory / FILE, PRICE)) as budget:
        assert budget.ledger.releases == 7
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [b"", b"SQLite", b"x" * 4096])
def test_a_damaged_one_is_refused(backup: Path, tmp_path: Path, damage: bytes) -> None:
    with tarfile.open(backup) as good, tarfile.open(tmp_path / "bad.tar", "w") as bad:
        for entry in good:
            content = good.extractfile(entry)
            assert content is not None
            data = damage if entry.name.endswith(FILE) else content.read()
            (tmp_path / "part").write_bytes(data)
            bad.add(tmp_path / "part", entry.name)
    with pytest.raises(StateError, match="take another backup"):
        restore(tmp_path / "bad.tar")
    assert not peer_directory("pump").exists()
