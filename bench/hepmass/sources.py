"""Where the rows are from: the simulation, made once, or a file of HEPMASS that is here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bench.harness import Race
from bench.hepmass.collisions import FEATURES, TITLE
from bench.hepmass.files import CHUNK, COLUMNS, Files, Table, scaled_masses
from learnae.errors import DataError
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset

DIRECTORY = Path("build/bench") / TITLE.replace(" ", "-")
_TEST_SHARE = 4 / 9  # of a file that is given


@dataclass(frozen=True, slots=True)
class Simulated:
    """Rows of the simulation; those of the test are of another split."""

    train_rows: int
    test_rows: int
    directory: Path = DIRECTORY

    @property
    def name(self) -> str:
        """Return what the rows are called in all that is shown of them."""
        return TITLE

    def train(self) -> Table:
        """Return the rows to train on."""
        return Files(self.directory, "train", self.train_rows).table()

    def test(self) -> Table:
        """Return the rows to test on."""
        return Files(self.directory, "test", self.test_rows).table()

    def make(self, race: Race) -> None:
        """Make the files if they are not there."""
        for split, rows in (("train", self.train_rows), ("test", self.test_rows)):
            with race.step(f"{TITLE}: {rows:,} rows, {split}") as say:
                Files(self.directory, split, rows).table(say)


@dataclass(frozen=True, slots=True)
class Given:
    """The first rows of a file of the user's, the last of them for the test. It has a column for the mass."""

    path: Path
    rows: int

    @property
    def name(self) -> str:
        """Return what the rows are called in all that is shown of them."""
        return f"file {self.path.name}"

    def train(self) -> Table:
        """Return the rows to train on."""
        table = _given(self.path, self.rows)
        return table.first(self._cut(table))

    def test(self) -> Table:
        """Return the rows to test on."""
        table = _given(self.path, self.rows)
        cut = self._cut(table)
        return Table(table.rows[cut:], table.labels[cut:], table.masses[cut:])

    def make(self, race: Race) -> None:
        """Read the file."""
        with race.step(f"reading {self.path}"):
            self.train()

    def _cut(self, table: Table) -> int:
        return round(len(table.labels) * (1 - _TEST_SHARE))


@cache
def _given(path: Path, rows: int) -> Table:
    manifest = Manifest("given", dense_config(COLUMNS, (), 1, "sigmoid"), "binary_crossentropy")
    found = load_dataset(DataSection(str(path), holdout=0.0), manifest).train
    taken, masses = np.array(found.rows[:rows]), np.rint(found.rows[:rows, FEATURES])
    if not 100 <= masses.min() <= masses.max() <= np.iinfo(np.int16).max:
        raise DataError(
            f"{path}: masses from {masses.min():g} to {masses.max():g}",
            "the last column is the mass in GeV, 500 to 1500",
        )
    taken[:, FEATURES] = scaled_masses(masses)
    return Table(taken, found.targets[:rows, 0].astype(np.int8), masses.astype(np.int16))


Rows = Simulated | Given


def source_of(race: Race, train_rows: int, test_rows: int) -> Rows:
    """Return the file that ``race`` is about, or else the simulation; so many rows of either, fewer in a quick one."""
    if race.quick:
        train_rows, test_rows = CHUNK // 2, CHUNK // 4
    if race.data:
        return Given(Path(race.data), train_rows + test_rows)
    return Simulated(train_rows, test_rows)
