"""What survives a power cut on a simulated disk, and what a killed process leaves."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from learnae.adapters.local.state_store import LocalStateStore
from learnae.errors import NotWrittenError
from learnae.ipld.cid import RAW, Cid
from learnae.simulation.seeds.disk import DiskBlockStore, Killed, SimulatedDisk
from learnae.system.atomic_files import Disk, write_atomic, writing_to

OLD, NEW = b"old" * 50, b"new" * 50


class Computer:
    """A disk with one file of content OLD, and a store with one block, both waited for."""

    def __init__(self, root: Path, seed: int) -> None:
        self.disk = SimulatedDisk(root / str(seed), random.Random(seed))
        self.file = self.disk.peer / "state"
        self.store = self.open()
        with writing_to(self.disk):
            write_atomic(self.file, OLD)

    def open(self) -> DiskBlockStore:
        with writing_to(self.disk):
            store = DiskBlockStore(self.disk, lambda: 0, lambda _: None)
        self.disk.boot(store)
        return store

    def again(self, is_power_cut: bool) -> None:
        self.disk.end(self.store, (), is_power_cut)
        self.store = self.open()

    @contextmanager
    def dying(self, fuse: int) -> Iterator[None]:
        self.disk.fuse = fuse
        with pytest.raises(Killed), writing_to(self.disk):
            yield

    def write(self, durable: bool = True) -> None:
        write_atomic(self.file, NEW, durable=durable)


def outcomes(tmp_path: Path, fuse: int, durable: bool) -> set[bytes]:
    """What the file holds after a power cut before that operation of a write, with different luck."""
    found = set()
    for seed in range(40):
        computer = Computer(tmp_path, seed)
        if fuse < OPERATIONS[durable]:
            with computer.dying(fuse):
                computer.write(durable)
        else:
            with writing_to(computer.disk):
                computer.write(durable)
        computer.again(is_power_cut=True)
        found.add(computer.file.read_bytes())
    return found


OPERATIONS = {True: 6, False: 4}  # create, write twice, sync, rename, sync the name


@pytest.mark.parametrize("fuse", range(OPERATIONS[True] + 1))
def test_what_was_waited_for_is_whole_at_any_cut(tmp_path: Path, fuse: int) -> None:
    renamed = {OLD} if fuse < 5 else {OLD, NEW} if fuse == 5 else {NEW}
    assert outcomes(tmp_path, fuse, durable=True) == renamed


def test_what_was_not_waited_for_may_be_old_new_or_torn(tmp_path: Path) -> None:
    found = outcomes(tmp_path, OPERATIONS[False], durable=False)
    assert OLD in found
    assert any(NEW.startswith(data) and data != NEW for data in found - {OLD}), "its name came before its content"


def test_a_killed_process_loses_nothing_that_it_has_written(tmp_path: Path) -> None:
    computer = Computer(tmp_path, 1)
    with writing_to(computer.disk):
        computer.write(durable=False)
        name = computer.store.put(RAW, b"a block")
    computer.again(is_power_cut=False)
    assert computer.file.read_bytes() == NEW
    assert computer.store.get(name) == b"a block"


def test_a_state_that_was_read_is_what_a_power_cut_leaves(tmp_path: Path) -> None:
    """The process that wrote it was killed before it waited, and the next one goes on from it."""
    for seed in range(20):
        computer = Computer(tmp_path, seed)
        with computer.dying(OPERATIONS[True] - 1):
            computer.write()
        computer.again(is_power_cut=False)
        with writing_to(computer.disk):
            assert LocalStateStore(computer.file).load() == NEW
        computer.again(is_power_cut=True)
        assert computer.file.read_bytes() == NEW


def test_after_its_end_a_process_writes_nothing_more(tmp_path: Path) -> None:
    computer = Computer(tmp_path, 1)
    with computer.dying(2):
        try:
            computer.write()
        finally:
            computer.write()
    assert computer.file.read_bytes() == OLD


def test_a_power_cut_takes_the_newest_blocks_and_leaves_those_before(tmp_path: Path) -> None:
    left = set()
    for seed in range(20):
        computer = Computer(tmp_path, seed)
        names = [computer.store.put(RAW, b"%d" % number * 500) for number in range(10)]
        computer.again(is_power_cut=True)
        here = computer.store.held(names)
        assert here == set(names[: len(here)])
        left.add(len(here))
    assert len(left) > 3


def test_a_full_disk_takes_neither_files_nor_blocks(tmp_path: Path) -> None:
    computer = Computer(tmp_path, 1)
    computer.disk.is_full = True
    with writing_to(computer.disk):
        with pytest.raises(NotWrittenError, match="No space left"):
            computer.write()
        with pytest.raises(NotWrittenError, match="full"):
            computer.store.put(RAW, b"x" * 100_000)
        computer.disk.is_full = False
        computer.write()
        name = computer.store.put(RAW, b"x" * 100_000)
    assert computer.file.read_bytes() == NEW
    assert computer.store.names == {name} == {Cid.of(RAW, b"x" * 100_000)}
    assert isinstance(computer.disk, Disk)
