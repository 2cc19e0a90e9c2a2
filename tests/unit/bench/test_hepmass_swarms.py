"""How the benchmark on HEPMASS-like rows shares them out, cuts links, and reads files of the user's."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.harness import Race
from bench.hepmass.collisions import MASSES
from bench.hepmass.files import COLUMNS, Table
from bench.hepmass.sources import Given, source_of
from bench.hepmass.swarms import IID, ONE_MASS, Links, Plan, dataset_of, manifest_of, reach, shares_of
from learnae.errors import DataError
from learnae.simulation.simulator import Setting, Simulation


def table_of(count: int) -> Table:
    """Rows whose second column is their number, and whose first tells signal."""
    rng = np.random.default_rng(1)
    labels = (rng.random(count) < 0.5).astype(np.int8)
    rows = rng.standard_normal((count, COLUMNS)).astype(np.float32)
    rows[:, 0] += 2 * labels
    rows[:, 1] = np.arange(count)
    return Table(rows, labels, rng.choice(MASSES, count).astype(np.int16))


class Rows:
    name = "rows"

    def train(self) -> Table:
        return scaled(table_of(4000))

    def test(self) -> Table:
        return scaled(table_of(1000))


def scaled(table: Table) -> Table:
    table.rows[:, 1] = 0
    return table


@pytest.mark.parametrize(
    "plan", [Plan(8, IID), Plan(5, ONE_MASS), Plan(10, ONE_MASS), Plan(4, ONE_MASS, left_out=1000)]
)
def test_each_row_has_one_peer_and_peers_of_one_mass_have_signal_of_one(plan: Plan) -> None:
    table = table_of(3000)
    shares = shares_of(plan, table)

    given = np.sort(np.concatenate([share.rows[:, 1] for share in shares]))
    assert given.tolist() == np.flatnonzero(table.masses != plan.left_out).tolist()
    assert max(len(share.labels) for share in shares) < 1.5 * min(len(share.labels) for share in shares)
    for number, share in enumerate(shares):
        signal = np.unique(share.masses[share.labels == 1]).tolist()
        kinds = [mass for mass in MASSES if mass != plan.left_out]
        assert signal == ([kinds[number % len(kinds)]] if plan.split == ONE_MASS else kinds)
        assert np.unique(share.masses[share.labels == 0]).tolist() == kinds


def test_masses_that_peers_cannot_share_are_refused() -> None:
    with pytest.raises(ValueError, match="7 peers"):
        shares_of(Plan(7, ONE_MASS), table_of(100))


@pytest.mark.parametrize("has_mass", [True, False])
def test_a_network_without_the_mass_does_not_see_it(has_mass: bool) -> None:
    plan = Plan(2, has_mass=has_mass)
    data = dataset_of(manifest_of(plan), table_of(200))

    assert data.train.rows.shape == (190, COLUMNS if has_mass else COLUMNS - 1)
    assert len(data.holdout) == 10


@pytest.mark.parametrize(("down", "lasts"), [(0.25, 10), (0.75, 10), (0.5, 1)])
def test_links_are_down_for_their_share_of_the_time(down: float, lasts: int) -> None:
    plan = Plan(6, down=down, lasts=lasts)
    simulation = Simulation(manifest_of(plan), [], Setting())
    Links(simulation, plan)
    seen = []
    for _ in range(3000):
        simulation.run(1000)
        seen.append(len(simulation.network.groups) / plan.peers)
        assert len(set(simulation.network.groups.values())) == len(simulation.network.groups)

    assert np.mean(seen) == pytest.approx(down, abs=0.03)


def test_links_of_each_two_are_down_each_on_its_own() -> None:
    plan = Plan(6, down=0.5, between=True)
    simulation = Simulation(manifest_of(plan), [], Setting())
    Links(simulation, plan)
    network, seen = simulation.network, []
    for _ in range(3000):
        simulation.run(1000)
        up = [network.reaches(one, other) for one, other in combinations(range(plan.peers), 2)]
        assert all(network.reaches(*pair) == network.reaches(*pair[::-1]) for pair in network.cuts)
        seen.append(1 - np.mean(up))
    assert np.mean(seen) == pytest.approx(0.5, abs=0.03)
    assert not network.groups


def test_a_swarm_learns_with_links_that_are_down_and_one_that_has_none_is_all_rows_in_one_place() -> None:
    swarm = reach(Plan(3, steps=60, updates=6, down=0.5, falls=True), Rows(), looks=2)
    pooled = reach(Plan(1, steps=60), Rows())

    assert (len(swarm.scores), swarm.alarms) == (3, 0)
    assert swarm.worst > 0.85
    assert pooled.worst > 0.85
    assert pooled.steps == (60,)
    assert min(swarm.steps) >= 40
    assert swarm.course[-1] == (1.0, swarm.scores[0].auc)


def write(path: Path, columns: list[str], rows: np.ndarray) -> Path:
    path.write_text("# label," + ",".join(columns) + "\n" + "\n".join(",".join(f"{v:.18e}" for v in r) for r in rows))
    return path


def test_a_file_of_hepmass_is_read_with_its_masses_and_called_by_its_name(tmp_path: Path, own_home: None) -> None:
    table = table_of(90)
    columns = [f"f{number}" for number in range(27)]
    rows = np.column_stack([table.labels, table.rows[:, :27], table.masses + 1e-4])
    path = write(tmp_path / "all_train.csv", [*columns, "mass"], rows)
    source = source_of(Race("hepmass", quick=False, data=str(path)), 60, 30)

    train, test = source.train(), source.test()

    assert source.name == "file all_train.csv"
    assert (len(train.labels), len(test.labels)) == (50, 40)
    assert np.array_equal(np.concatenate([train.masses, test.masses]), table.masses)
    assert np.array_equal(np.concatenate([train.labels, test.labels]), table.labels)
    assert np.abs(train.rows[:, 27]).max() < 1.5
    for name, bad in (("1000_train.csv", rows[:, :-1]), ("scaled.csv", np.column_stack([rows[:, :-1], rows[:, 1]]))):
        with pytest.raises(DataError, match=r"mass|28"):
            Given(write(tmp_path / name, [*columns, "mass"][: bad.shape[1] - 1], bad), 90).train()
