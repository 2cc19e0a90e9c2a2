"""The block database with a real file, real processes, disks and ``kill -9``."""

import fcntl
import os
import random
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from block_rows import age, row_of, run, spoil
from children import PROCESSES, kill, running
from disks import fill, read_only, small_disk
from nightly import how_many

from learnae.adapters.local import block_store as block_store_module
from learnae.adapters.local.block_database import FILE, is_sound
from learnae.adapters.local.block_salvage import DAMAGED_SUFFIX, rebuild
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.cli.commands.keep.blocks import fsck
from learnae.errors import (
    BlockMissingError,
    DamagedError,
    EncodingError,
    InUseError,
    LearnaeError,
    NotWrittenError,
    StateError,
)
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.ports import check_named
from learnae.system.atomic_files import TEMPORARY, why_unwritable

HOUR = 3_600_000  # ms
KILLS = how_many(25, 200)
PAGE = 4096


@pytest.fixture
def store(tmp_path):
    return LocalBlockStore(tmp_path)


@pytest.fixture
def another(tmp_path):
    """The store of another thread, or of another process."""
    return LocalBlockStore(tmp_path)


@pytest.fixture
def old(tmp_path, store):
    """A block that nothing has used for two hours."""
    cid = store.put(RAW, b"weights")
    age(tmp_path, cid)
    return cid


def an_hour_ago() -> int:
    return int(time.time() * 1000) - HOUR


def bytes_on_disk(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob(f"{FILE}*"))


# -- damaged blocks


@pytest.mark.parametrize("rot", [bytes(500) + b"\x01" + bytes(499), bytes(999)], ids=["flipped", "cut short"])
def test_a_damaged_block_is_an_error_once_and_a_put_heals(tmp_path, store, rot):
    cid = store.put(RAW, bytes(1000))
    spoil(tmp_path, cid, rot)

    with pytest.raises(EncodingError):
        store.get(cid)
    assert not store.has(cid)
    with pytest.raises(BlockMissingError):
        store.get(cid)

    assert store.put(RAW, bytes(1000)) == cid
    assert store.get(cid) == bytes(1000)


def test_a_put_heals_damage_that_nothing_has_noticed(tmp_path, store):
    cid = store.put(RAW, b"weights")
    spoil(tmp_path, cid, b"WEIGHTS")

    store.put(RAW, b"weights")

    assert store.get(cid) == b"weights"


def test_a_good_copy_that_comes_while_the_damage_is_being_noticed_stays(tmp_path, store, another, monkeypatch):
    cid = store.put(RAW, b"weights")
    spoil(tmp_path, cid, b"rot")

    def check(cid, data):
        if data == b"rot":
            monkeypatch.undo()
            another.put(RAW, b"weights")
        check_named(cid, data)

    monkeypatch.setattr(block_store_module, "check_named", check)
    with pytest.raises(EncodingError):
        store.get(cid)

    assert store.has(cid)
    assert store.get(cid) == b"weights"


@pytest.mark.parametrize("odd", ["weights", 7, bytes(MAX_BLOCK_BYTES + 1)], ids=["text", "number", "huge"])
def test_what_is_no_block_is_never_returned(tmp_path, store, odd):
    cid = store.put(RAW, b"weights")
    spoil(tmp_path, cid, odd)

    with pytest.raises(EncodingError, match="bytes"):
        store.get(cid)
    assert not store.has(cid)


def test_rows_that_are_no_blocks_do_no_harm(tmp_path, store):
    cid = store.put(RAW, b"works")
    run(tmp_path, "INSERT INTO blocks VALUES (?, 0, ?)", b"nonsense", b"hello")

    assert list(store.cids()) == [cid]
    assert store.sizes() == {cid: 5}


# -- use


def test_a_block_that_is_here_is_not_written_again(tmp_path, store):
    cid = store.put(RAW, b"flash memory wears out")
    before = row_of(tmp_path, cid), bytes_on_disk(tmp_path)

    assert store.put(RAW, b"flash memory wears out") == cid
    assert store.has(cid)

    assert (row_of(tmp_path, cid), bytes_on_disk(tmp_path)) == before


@pytest.mark.parametrize("use", ["put", "has"])
def test_an_old_block_that_is_put_or_looked_for_again_is_in_use(tmp_path, store, another, use):
    cid, unused = store.put(RAW, b"weights"), store.put(RAW, b"nobody's")
    age(tmp_path, cid, unused)
    before = row_of(tmp_path, cid)[0]

    assert another.put(RAW, b"weights") == cid if use == "put" else another.has(cid)

    assert row_of(tmp_path, cid)[0] == before  # not written again
    assert store.remove([cid, unused], an_hour_ago()) == {unused: len(b"nobody's")}
    assert store.remove([cid, unused], an_hour_ago()) == {}
    assert list(store.cids()) == [cid]
    assert store.get(cid) == b"weights"


def test_what_others_have_used_lately_is_not_deleted_as_unused(tmp_path, store, another):
    put, looked_for, unused = (store.put(RAW, data) for data in (b"put", b"looked for", b"nobody's"))
    age(tmp_path)
    another.put(RAW, b"put")
    assert another.has(looked_for)
    assert another.held([put, unused, Cid.of(RAW, b"was never here")]) == {put, unused}

    store.delete([put, looked_for, unused, Cid.of(RAW, b"was never here")], unused_for=HOUR)

    assert set(store.cids()) == {put, looked_for}
    store.delete([put, looked_for])
    assert not list(store.cids())


def test_a_block_that_is_removed_while_it_is_looked_for_is_not_here(store, another, old, monkeypatch):
    note = LocalBlockStore._note_use

    def note_too_late(self, name, used):
        monkeypatch.undo()
        assert another.remove([old], an_hour_ago()) == {old: len(b"weights")}
        return note(self, name, used)

    monkeypatch.setattr(LocalBlockStore, "_note_use", note_too_late)
    assert not store.has(old)
    assert store.put(RAW, b"weights") == old
    assert store.get(old) == b"weights"


def test_many_names_are_listed_while_blocks_go(store, another):
    names = [store.put(RAW, bytes([number % 256, number // 256])) for number in range(1000)]
    found = []
    for cid in store.cids():
        if not found:
            another.delete(names[:500])
        found.append(cid)
    assert set(names[500:]) <= set(found) <= set(names)
    assert len(found) == len(set(found)) < 1000


# -- the file


def test_the_file_shrinks_after_blocks_have_gone(tmp_path, store):
    rng = random.Random(1)
    names = [store.put(RAW, rng.randbytes(4400)) for _ in range(1000)]
    full = bytes_on_disk(tmp_path)
    assert full < 1.3 * 4400 * 1000 + (1 << 20)  # and the log

    store.delete(names[:950])

    assert bytes_on_disk(tmp_path) < 4 * 50 * 4400
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert is_sound(tmp_path / FILE)
    assert all(store.get(cid) for cid in names[950:])


def test_a_file_that_is_in_use_by_a_reader_shrinks_another_time(tmp_path, store):
    names = [store.put(RAW, random.Random(number).randbytes(4400)) for number in range(300)]
    with closing(sqlite3.connect(tmp_path / FILE)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM blocks").fetchall()
        hurried = LocalBlockStore(tmp_path, patience=0.1)
        hurried.delete(names[:290])
    hurried.delete(names[290:299])
    hurried.close()
    store.close()
    assert bytes_on_disk(tmp_path) < 20 * PAGE


def test_who_may_read_it_is_the_affair_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        store = LocalBlockStore(tmp_path / "deep" / "swarm")
        store.put(RAW, b"weights")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep" / "swarm").iterdir()}
    assert modes == dict.fromkeys([FILE, f"{FILE}-wal", f"{FILE}-shm"], 0o640)


def test_a_closed_store_opens_again(tmp_path, store):
    cid = store.put(RAW, b"weights")
    store.close()
    store.close()
    assert not list(tmp_path.glob(f"{FILE}-*"))
    assert store.get(cid) == b"weights"
    assert store.put(RAW, b"more") in store.held([Cid.of(RAW, b"more")])


# -- what is no database of ours


def other_version(path: Path) -> None:
    LocalBlockStore(path.parent).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")


def other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE readings (value)")


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize(
    ("make", "what", "remedy"),
    [
        (other_version, "version 2", "use the learnae that wrote it"),
        (other_program, "no blocks of a swarm", "move it away"),
        (Path.touch, "no blocks of a swarm", "move it away"),
        (lambda path: path.write_bytes(b"notes" * 1000), "not a database", "learnae blocks --fsck"),
    ],
    ids=["version", "program", "empty", "text"],
)
def test_what_is_no_database_of_this_version_is_refused(tmp_path, make, what, remedy, read):
    path = tmp_path / FILE
    make(path)
    before = path.read_bytes()
    with pytest.raises(StateError, match=what) as caught:
        LocalBlockStore(tmp_path, read_only=read)
    assert str(path) in caught.value.problem
    assert remedy in caught.value.remedy
    assert path.read_bytes() == before


def filled(directory: Path, count: int = 400) -> dict[Cid, bytes]:
    rng = random.Random(3)
    blocks = [rng.randbytes(rng.choice([300, 630, 4400, 20_000])) for _ in range(count)]
    with closing(LocalBlockStore(directory)) as store:
        return {store.put(RAW, data): data for data in blocks}


def flip(path: Path, rng: random.Random, pages: int) -> None:
    """Damage some bytes of ``pages`` pages, but for the header, and the roots that all is found from."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in rng.sample(range(4, size // PAGE), pages):
            for _ in range(8):
                file.seek(page * PAGE + rng.choice([rng.randrange(16), rng.randrange(PAGE)]))
                file.write(rng.randbytes(1))


@pytest.mark.parametrize("seed", range(how_many(6, 100)))
def test_a_damaged_file_is_an_error_of_our_own_and_what_can_be_read_is_salvaged(tmp_path, seed):
    blocks, rng, path = filled(tmp_path), random.Random(seed), tmp_path / FILE
    flip(path, rng, pages=(pages := 1 + seed % 3 * 10))

    good = 0
    with suppress(DamagedError), closing(LocalBlockStore(tmp_path, read_only=True)) as store:
        for cid, data in blocks.items():
            with suppress(LearnaeError):
                assert store.get(cid) == data
                good += 1
        list(store.cids())

    found = fsck(tmp_path)
    assert is_sound(path)
    with closing(LocalBlockStore(tmp_path)) as store:
        kept = store.sizes()
        assert set(kept) <= set(blocks)
        assert len(kept) >= good
        assert all(store.get(cid) == blocks[cid] for cid in kept)
        assert len(kept) > len(blocks) - 5 * pages  # a page of the table holds a few
        lost = {Cid.parse(name) for name in found["damaged"]}
        assert not lost & set(kept)
        for data in blocks.values():
            store.put(RAW, data)
    assert fsck(tmp_path) == {"checked": len(blocks), "damaged": []}


@pytest.mark.parametrize("where", [0, 100, 1500], ids=["header", "schema", "cut short"])
def test_a_file_of_which_nothing_is_left_is_replaced_and_kept_aside(tmp_path, where):
    blocks, path = filled(tmp_path), tmp_path / FILE
    with path.open("r+b") as file:
        if where == 1500:
            file.truncate(where)
        else:
            file.seek(where)
            file.write(bytes(range(60)))
    before = path.read_bytes()
    with pytest.raises(DamagedError, match=FILE) as caught:
        LocalBlockStore(tmp_path).get(next(iter(blocks)))
    assert "--fsck" in caught.value.remedy

    found = fsck(tmp_path)

    assert found["checked"] == 0
    assert str(path) in found["database"]
    assert path.with_name(FILE + DAMAGED_SUFFIX).read_bytes() == before
    store = LocalBlockStore(tmp_path)
    assert store.get(store.put(RAW, b"works")) == b"works"


def test_damage_below_a_running_peer_is_an_error_until_it_is_mended(tmp_path, store):
    names = [store.put(RAW, random.Random(number).randbytes(4400)) for number in range(600)]
    store.close()
    assert store.get(names[0])  # open again, its pages not read yet
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(PAGE)
        file.write(os.urandom((tmp_path / FILE).stat().st_size - PAGE))
    with pytest.raises(DamagedError, match=FILE):
        [store.get(name) for name in names]
    store.close()
    rebuild(tmp_path / FILE)
    store.put(RAW, b"again")
    assert list(store.cids()) == [Cid.of(RAW, b"again")]


def test_nothing_is_mended_while_it_is_used_nor_used_while_it_is_mended(tmp_path, store):
    cid = store.put(RAW, b"weights")
    with pytest.raises(InUseError, match="stop the peers"):
        rebuild(tmp_path / FILE)
    store.close()
    guard = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(guard, fcntl.LOCK_EX)  # as the one who mends it does
    with pytest.raises(InUseError, match="try again"):
        store.get(cid)
    os.close(guard)
    assert rebuild(tmp_path / FILE).kept == 1
    assert store.get(cid) == b"weights"
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


# -- many processes and threads at once


def make_blocks() -> list[bytes]:
    rng = random.Random(7)
    return [rng.randbytes(rng.choice([1, 500, 40_000, 300_000])) for _ in range(24)]


def put_and_get_at_random(directory: Path, number: int) -> None:
    use_at_random(LocalBlockStore(directory), number)


def use_at_random(store: LocalBlockStore, number: int) -> None:
    blocks, rng = make_blocks(), random.Random(number)
    for _ in range(150):
        data = rng.choice(blocks)
        cid = Cid.of(RAW, data)
        action = rng.randrange(5)
        if action < 2:
            assert store.put(RAW, data) == cid
        elif action == 2:
            store.delete([cid])
        else:
            with suppress(BlockMissingError):
                assert store.get(cid) == data


def test_processes_put_get_and_delete_the_same_blocks_at_once(tmp_path):
    with running(put_and_get_at_random, 6, tmp_path):
        pass

    assert not list(tmp_path.glob(f"{TEMPORARY}*"))
    store = LocalBlockStore(tmp_path)
    for data in make_blocks():
        assert store.get(store.put(RAW, data)) == data


def test_threads_share_one_store(store):
    errors = []

    def use(number):
        try:
            use_at_random(store, number)
            store.close()  # as often as one likes: the others go on
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def own_blocks(number: int) -> list[bytes]:
    rng = random.Random(number)
    return [rng.randbytes(rng.choice([630, 4400])) for _ in range(300)]


def put_own(directory: Path, number: int) -> None:
    store = LocalBlockStore(directory)
    for data in own_blocks(number):
        store.put(RAW, data)


def test_four_processes_that_write_at_once_lose_nothing(tmp_path):
    with running(put_own, 4, tmp_path):  # which make the file at once, too
        pass

    store = LocalBlockStore(tmp_path)
    for data in [data for number in range(4) for data in own_blocks(number)]:
        assert store.get(Cid.of(RAW, data)) == data
    assert len(store.sizes()) == 1200


def large_blocks() -> list[bytes]:
    rng = random.Random(8)
    return [rng.randbytes(MAX_BLOCK_BYTES) for _ in range(24)]


def put_large(directory: Path, number: int) -> None:
    store = LocalBlockStore(directory)
    for data in large_blocks():
        store.put(RAW, data)


def test_a_block_appears_whole_or_not_at_all(tmp_path, store):
    wanted = {Cid.of(RAW, data): data for data in large_blocks()}
    with running(put_large, 2, tmp_path):
        deadline = time.monotonic() + 60
        while wanted and time.monotonic() < deadline:
            for cid in [cid for cid in wanted if store.has(cid)]:
                assert store.get(cid) == wanted.pop(cid)  # raises EncodingError for half a block

    assert not wanted


# -- kill -9


def churn_until_killed(directory: Path, number: int, told: Connection) -> None:
    """Put, delete and give pages back; say what has been put, and what is about to be deleted."""
    store, rng, held = LocalBlockStore(directory), random.Random(number), list[Cid]()
    while True:
        held.append(store.put(RAW, rng.randbytes(rng.choice([630, 4400, 4400, 100_000]))))
        told.send_bytes(b"+" + held[-1].to_bytes())
        if len(held) > 30:
            going, held = held[:-2], held[-2:]
            told.send_bytes(b"-" + b"".join(cid.to_bytes() for cid in going))
            store.delete(going)
            told.send_bytes(b" ")


class Witness:
    """Hears what a process says of its blocks until it is killed, and reads them meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.store = LocalBlockStore(directory)
        self.promised: set[Cid] = set()
        self.interrupted = 0  # deletions

    def watch(self, directory: Path, number: int, count: int) -> None:
        """Kill it after ``count`` words, however fast they come."""
        here, there = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=churn_until_killed, args=(directory, number, there))
        process.start()
        there.close()
        last = b""
        for _ in range(count):
            assert here.poll(60)
            last = self._hear(here)
            for cid in list(self.store.cids())[:3]:
                with suppress(BlockMissingError):
                    self.store.get(cid)  # raises EncodingError for half a block
        kill(process)
        with suppress(EOFError):
            while True:
                last = self._hear(here)
        self.interrupted += last[:1] == b"-"

    def _hear(self, here: Connection) -> bytes:
        said = here.recv_bytes()
        names = {Cid.from_bytes(said[at : at + 36]) for at in range(1, len(said), 36)}
        self.promised = self.promised | names if said[:1] == b"+" else self.promised - names
        return said


@pytest.mark.slow
def test_killed_at_any_instant_it_loses_nothing_and_leaves_no_damage(tmp_path):
    witness, rng, most = Witness(tmp_path), random.Random(11), 0
    for number in range(10 * KILLS):
        if number >= KILLS and witness.interrupted:
            break
        witness.watch(tmp_path, number, rng.randint(1, 70))
        assert is_sound(tmp_path / FILE)
        assert all(witness.store.get(cid) for cid in witness.promised)
        most = max(most, bytes_on_disk(tmp_path))
    assert witness.interrupted, "no kill came in the middle of a deletion"
    assert len(witness.promised) > KILLS
    witness.store.delete(list(witness.store.cids()))
    witness.store.close()
    assert bytes_on_disk(tmp_path) < 70 * PAGE < most


# -- who only reads


def test_who_only_reads_uses_no_block_and_deletes_none(tmp_path, store, old):
    reader = LocalBlockStore(tmp_path, read_only=True)
    assert reader.has(old)
    assert reader.get(old) == b"weights"
    reader.delete([old])
    with pytest.raises(NotWrittenError, match="only read"):
        reader.put(RAW, b"more")
    assert store.remove([old], an_hour_ago()) == {old: len(b"weights")}
    assert not reader.has(old)


def test_who_only_reads_makes_no_file_and_sees_what_comes(tmp_path):
    for directory in (tmp_path, tmp_path / "nowhere"):
        reader = LocalBlockStore(directory, read_only=True)
        assert reader.sizes() == {}
        assert not reader.has(Cid.of(RAW, b"weights"))
    assert not list(tmp_path.iterdir())
    reader = LocalBlockStore(tmp_path, read_only=True)
    cid = LocalBlockStore(tmp_path).put(RAW, b"weights")
    assert reader.get(cid) == b"weights"


def test_a_damaged_block_stays_for_those_who_may_remove_it(tmp_path, store):
    cid = store.put(RAW, b"weights")
    spoil(tmp_path, cid, b"rot")
    reader = LocalBlockStore(tmp_path, read_only=True)
    for _ in range(2):
        with pytest.raises(EncodingError):
            reader.get(cid)
    assert fsck(tmp_path) == {"checked": 1, "damaged": [str(cid)]}


def read_as_stranger(directory: Path, expected: Connection, answers: Connection) -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    store = LocalBlockStore(directory, read_only=True)
    while cid := expected.recv():
        try:
            answers.send(store.get(cid))
        except LearnaeError as error:
            answers.send(repr(error))


def test_the_log_is_put_into_the_database_less_often_where_blocks_are_large(tmp_path, store):
    def sizes_of_log(count: int, size: int) -> Iterator[int]:
        for _ in range(count):
            store.put(RAW, random.randbytes(size))
            yield (tmp_path / f"{FILE}-wal").stat().st_size

    assert max(sizes_of_log(300, 10_000)) < 1.2 * 2**20
    assert 8 * 2**20 < max(sizes_of_log(40, 2**20)) < 20 * 2**20
    store.close()
    assert is_sound(tmp_path / FILE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("writer", ["open", "closed", "killed"])
def test_another_user_reads_what_it_may_not_write(public_path, writer):
    swarm = public_path / "swarm"
    store = LocalBlockStore(swarm)
    first = store.put(RAW, b"first")
    if writer == "closed":
        store.close()
    if writer == "killed":
        store.close()
        process = PROCESSES.Process(target=put_own_and_wait, args=(swarm, begun := PROCESSES.Event()))
        process.start()
        assert begun.wait(60)
        kill(process)
        assert (swarm / f"{FILE}-wal").stat().st_size
    (questions, ask), (answer, answers) = PROCESSES.Pipe(duplex=False), PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=read_as_stranger, args=(swarm, questions, answers))
    process.start()
    before = sorted(path.name for path in swarm.iterdir())
    for cid, data in ((first, b"first"), (store.put(RAW, b"then"), b"then")):
        ask.send(cid)
        assert answer.poll(60)
        assert answer.recv() == data
    ask.send(None)
    process.join(60)
    assert sorted(path.name for path in swarm.iterdir()) == sorted({*before, f"{FILE}-wal", f"{FILE}-shm"})


def put_own_and_wait(directory: Path, begun) -> None:
    store = LocalBlockStore(directory)
    store.put(RAW, b"killed")
    begun.set()
    time.sleep(600)


# -- a disk that takes nothing


def test_a_place_that_is_read_only_is_an_error_of_our_own(tmp_path):
    place = tmp_path / "swarm"
    with closing(LocalBlockStore(place)) as store:
        cid = store.put(RAW, b"weights")
        age(place, cid)
    leftover = place / f"{TEMPORARY}1-2"
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - 7200,) * 2)
    with read_only(place):
        store = LocalBlockStore(place)
        assert store.has(cid)
        assert store.get(cid) == b"weights"
        assert store.put(RAW, b"weights") == cid
        changes: list[Callable[[], object]] = [
            lambda: store.put(RAW, b"more"),
            lambda: store.delete([cid]),
            lambda: store.remove([cid], an_hour_ago()),
        ]
        for change in changes:
            with pytest.raises(NotWrittenError, match="cannot write"):
                change()
        assert "read-only" in why_unwritable(place) or "denied" in why_unwritable(place)
        with pytest.raises(NotWrittenError, match="cannot write"):
            LocalBlockStore(place / "deeper")
    store.delete([cid])
    assert not store.has(cid)
    assert why_unwritable(place) == ""
    assert "no space" in why_unwritable(place, 1 << 60)


def test_a_disk_without_room_is_an_error_of_our_own(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        store = LocalBlockStore(disk)
        kept = store.put(RAW, b"kept")
        filler = fill(disk)
        for number in range(40):
            with pytest.raises(NotWrittenError, match="cannot write"):
                store.put(RAW, bytes([number]) * 5000)
        assert store.get(kept) == b"kept"
        assert LocalBlockStore(disk).get(kept) == b"kept"
        assert not list(disk.rglob(f"{TEMPORARY}*"))
        filler.unlink()
        assert store.get(store.put(RAW, b"0")) == b"0"
        store.close()
        filler = fill(disk)
        assert "no space" in why_unwritable(disk)
        with pytest.raises(NotWrittenError, match="cannot write"):
            LocalBlockStore(disk / "another")
        assert store.get(kept) == b"kept"  # nothing can be put beside the file
        with pytest.raises(NotWrittenError, match="cannot write"):
            store.put(RAW, b"1")
        filler.unlink()
        assert store.get(store.put(RAW, b"1")) == b"1"
        assert is_sound(disk / FILE)


def test_a_lock_that_another_process_holds_for_long_is_an_error_and_nobody_reads_less(tmp_path, store):
    cid = store.put(RAW, b"weights")
    age(tmp_path, cid)
    hurried = LocalBlockStore(tmp_path, patience=0.05)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotWrittenError, match="locked"):
            hurried.put(DAG_CBOR, b"more")
        assert hurried.get(cid) == b"weights"
        assert hurried.has(cid)
    assert hurried.get(hurried.put(DAG_CBOR, b"more")) == b"more"
