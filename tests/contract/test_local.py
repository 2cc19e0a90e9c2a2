"""The local adapters with real files, real processes and ``kill -9``."""

import multiprocessing
import os
import random
import signal
import stat
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from disks import fill, read_only, small_disk

from learnae.adapters.local import block_store as block_store_module
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.error_log import ErrorLog
from learnae.errors import BlockMissingError, EncodingError, NotWrittenError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.ports import check_named
from learnae.protocol.limits import Limits
from learnae.runtime.observer import _ReadOnlyStore
from learnae.system.atomic_files import TEMPORARY, why_unwritable

PROCESSES = multiprocessing.get_context("fork")  # starts in a millisecond: 30 kills are soon done
HEADS = [Cid.of(DAG_CBOR, bytes([number])) for number in range(4)]
KILLS = 30


def path_of(directory: Path, cid: Cid) -> Path:
    return directory / "blocks" / str(cid)[-2:] / str(cid)


def finished_files(directory: Path) -> list[Path]:
    return [path for path in (directory / "blocks").glob("*/*") if not path.name.startswith(TEMPORARY)]


def leftovers(directory: Path) -> list[Path]:
    return list(directory.rglob(f"{TEMPORARY}*"))


def age(path: Path, hours: float = 2) -> None:
    os.utime(path, (time.time() - 3600 * hours,) * 2)


@contextmanager
def running(target: Callable[..., None], directory: Path, count: int):
    """Run ``target(directory, number)`` in processes of their own, which succeed."""
    processes = [PROCESSES.Process(target=target, args=(directory, number)) for number in range(count)]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count


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
    age(path_of(tmp_path, cid))
    return cid


@pytest.fixture
def problems():
    return ErrorLog()


@pytest.fixture
def listener(tmp_path, problems):
    return LocalGossip(tmp_path, None, problems)


@pytest.fixture
def meanwhile(monkeypatch):
    """``meanwhile(name, act)``: right before the next call of that function of ``os``, and never again, it acts."""
    awaited = []

    def prepare(name, act):
        original = getattr(os, name)

        def call(*arguments):
            monkeypatch.setattr(os, name, original)
            awaited.remove(name)
            act(*arguments)
            original(*arguments)

        awaited.append(name)
        monkeypatch.setattr(os, name, call)

    yield prepare
    assert not awaited


# -- damaged blocks


@pytest.mark.parametrize("damaged", [bytes(500) + b"\x01" + bytes(499), bytes(999)], ids=["flipped", "cut short"])
def test_a_damaged_block_is_an_error_once_and_a_put_heals(tmp_path, store, damaged):
    cid = store.put(RAW, bytes(1000))
    path_of(tmp_path, cid).write_bytes(damaged)

    with pytest.raises(EncodingError):
        store.get(cid)
    assert not store.has(cid)
    with pytest.raises(BlockMissingError):
        store.get(cid)

    assert store.put(RAW, bytes(1000)) == cid
    assert store.get(cid) == bytes(1000)


def test_a_good_copy_that_comes_while_the_damage_is_being_noticed_stays(tmp_path, store, another, monkeypatch):
    cid = store.put(RAW, b"weights")
    path_of(tmp_path, cid).write_bytes(b"rot")

    def check(cid, data):
        if data == b"rot":
            another.put(RAW, b"weights")
        check_named(cid, data)

    monkeypatch.setattr(block_store_module, "check_named", check)
    with pytest.raises(EncodingError):
        store.get(cid)

    assert store.has(cid)
    assert store.get(cid) == b"weights"


def test_a_good_copy_of_another_process_heals_what_was_found_damaged(tmp_path, store, another):
    cid = store.put(RAW, b"weights")
    path_of(tmp_path, cid).write_bytes(b"rotten!")
    for each in (store, another):
        with pytest.raises(EncodingError):
            each.get(cid)
        assert not each.has(cid)

    another.put(RAW, b"weights")

    assert store.has(cid)
    assert store.get(cid) == b"weights"


def test_what_is_removed_as_damaged_is_never_the_good_copy_that_has_replaced_it(tmp_path, store, another, meanwhile):
    cid = store.put(RAW, b"weights")
    path_of(tmp_path, cid).write_bytes(b"rot")
    with pytest.raises(EncodingError):
        store.get(cid)
    meanwhile("rename", lambda *_: another.put(RAW, b"weights"))
    store.remove_damaged(cid)
    assert store.get(cid) == b"weights"

    path_of(tmp_path, cid).write_bytes(b"rot again")
    with pytest.raises(EncodingError):
        store.get(cid)
    store.remove_damaged(cid)
    store.remove_damaged(cid)
    assert not path_of(tmp_path, cid).exists()
    assert not leftovers(tmp_path)


def test_a_block_that_is_here_is_not_written_again(tmp_path, store):
    path = path_of(tmp_path, store.put(RAW, b"flash memory wears out"))
    before = path.stat()

    store.put(RAW, b"flash memory wears out")

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("use", ["put", "has"])
def test_an_old_block_that_is_put_or_looked_for_again_is_in_use(tmp_path, store, another, use):
    cid, unused = store.put(RAW, b"weights"), store.put(RAW, b"nobody's")
    for each in (cid, unused):
        age(path_of(tmp_path, each))
    before, hour_ago = path_of(tmp_path, cid).stat().st_ino, time.time() - 3600

    assert another.put(RAW, b"weights") == cid if use == "put" else another.has(cid)

    assert path_of(tmp_path, cid).stat().st_ino == before  # not written again
    assert store.remove_unused(cid, since=hour_ago) is None
    assert store.remove_unused(unused, since=hour_ago) == len(b"nobody's")
    assert store.remove_unused(unused, since=hour_ago) is None
    assert list(store.held()) == [cid]
    assert store.get(cid) == b"weights"


def test_what_others_have_used_lately_is_not_deleted_as_unused(tmp_path, store, another):
    put, looked_for, unused = (store.put(RAW, data) for data in (b"put", b"looked for", b"nobody's"))
    for each in (put, looked_for, unused):
        age(path_of(tmp_path, each))
    another.put(RAW, b"put")
    assert another.has(looked_for)

    store.delete([put, looked_for, unused, Cid.of(RAW, b"was never here")], unused_for=3_600_000)

    assert set(store.held()) == {put, looked_for}
    store.delete([put, looked_for])
    assert not list(store.held())


@pytest.mark.parametrize("use", ["put", "has"])
def test_a_block_that_is_used_while_it_is_being_removed_stays(tmp_path, store, another, old, meanwhile, use):
    def use_it(*_):
        assert another.put(RAW, b"weights") == old if use == "put" else another.has(old)

    meanwhile("rename", use_it)
    assert store.remove_unused(old, since=time.time() - 3600) is None
    assert store.get(old) == b"weights"
    assert finished_files(tmp_path) == [path_of(tmp_path, old)]


def test_a_block_that_is_removed_while_it_is_put_is_written_anew(store, another, old, monkeypatch):
    utime = os.utime

    def utime_too_late(path):
        monkeypatch.setattr(os, "utime", utime)
        file = os.open(path, os.O_RDONLY)  # it has found the file, which is then removed
        assert another.remove_unused(old, since=time.time() - 3600) == len(b"weights")
        utime(file)
        os.close(file)

    monkeypatch.setattr(os, "utime", utime_too_late)
    assert store.put(RAW, b"weights") == old
    assert os.utime is utime
    assert store.get(old) == b"weights"


def test_who_is_killed_before_the_second_look_has_removed_nothing(tmp_path, store, old, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove_unused(old, since=time.time() - 3600)
    assert not store.has(old)

    assert LocalBlockStore(tmp_path).get(old) == b"weights"
    assert finished_files(tmp_path) == [path_of(tmp_path, old)]


def test_whoever_only_looks_at_a_directory_uses_no_block(tmp_path, store, old):
    assert _ReadOnlyStore(tmp_path).has(old)
    assert store.remove_unused(old, since=time.time() - 3600) == len(b"weights")


def test_a_huge_file_in_the_place_of_a_block_is_not_read_whole(tmp_path, store):
    cid = store.put(RAW, b"small")
    with path_of(tmp_path, cid).open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room

    with pytest.raises(Exception, match="bytes"):
        store.get(cid)
    assert not store.has(cid)


def test_files_that_are_no_blocks_do_no_harm(tmp_path):
    LocalBlockStore(tmp_path)
    (tmp_path / "blocks" / "README").write_text("hello")
    (tmp_path / "blocks" / "aa").mkdir()
    (tmp_path / "blocks" / "aa" / "nonsense").write_text("hello")

    store = LocalBlockStore(tmp_path)

    assert store.get(store.put(RAW, b"works")) == b"works"


# -- many processes at once


def make_blocks() -> list[bytes]:
    rng = random.Random(7)
    return [rng.randbytes(rng.choice([1, 500, 40_000, 300_000])) for _ in range(24)]


def put_and_get_at_random(directory: Path, number: int) -> None:
    store, blocks, rng = LocalBlockStore(directory), make_blocks(), random.Random(number)
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
    with running(put_and_get_at_random, tmp_path, 6):
        pass

    assert not leftovers(tmp_path)
    store = LocalBlockStore(tmp_path)
    for data in make_blocks():
        assert store.get(store.put(RAW, data)) == data


def put_all(directory: Path, number: int) -> None:
    store = LocalBlockStore(directory)
    for data in large_blocks():
        store.put(RAW, data)


def large_blocks() -> list[bytes]:
    rng = random.Random(8)
    return [rng.randbytes(MAX_BLOCK_BYTES) for _ in range(24)]


def test_a_block_appears_whole_or_not_at_all(tmp_path, store):
    wanted = {Cid.of(RAW, data): data for data in large_blocks()}
    with running(put_all, tmp_path, 2):
        deadline = time.monotonic() + 60
        while wanted and time.monotonic() < deadline:
            for cid in [cid for cid in wanted if store.has(cid)]:
                assert store.get(cid) == wanted.pop(cid)  # raises EncodingError for half a block

    assert not wanted


def announce_often(directory: Path, number: int) -> None:
    gossip = LocalGossip(directory, f"peer-{number}")
    for turn in range(300):
        gossip.announce(HEADS * (1 + turn % 16))


def test_heads_that_are_replaced_while_others_read_are_always_whole(tmp_path, listener, problems):
    heard = []
    with running(announce_often, tmp_path, 3) as writers:
        while any(writer.is_alive() for writer in writers):
            heard += listener.heard()
    heard += listener.heard()

    assert not problems.counts
    assert heard
    assert all(list(heads) == HEADS * (len(heads) // len(HEADS)) for heads in heard)


# -- kill -9


def write_until_killed(directory: Path, number: int, begun: Event) -> None:
    """Blocks, heads and state, as fast as the disk takes them."""
    store, gossip = LocalBlockStore(directory), LocalGossip(directory, "writer")
    state, rng = LocalStateStore(directory / "state"), random.Random(number)
    begun.set()
    while True:
        store.put(RAW, rng.randbytes(rng.choice([100, MAX_BLOCK_BYTES])))
        gossip.announce([Cid.of(DAG_CBOR, rng.randbytes(8)) for _ in range(Limits().heads)])
        state.save(bytes([rng.randrange(256)]) * (1 << 18))


def kill_a_writer(directory: Path, number: int, after: float) -> None:
    begun = PROCESSES.Event()  # how soon a process starts is the machine's affair
    writer = PROCESSES.Process(target=write_until_killed, args=(directory, number, begun))
    writer.start()
    assert begun.wait(60)
    time.sleep(after)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("batch", range(3))
def test_a_killed_writer_leaves_nothing_half_done_and_no_lock(tmp_path, batch):
    rng, interrupted = random.Random(batch), 0
    for number in range(KILLS // 3):
        kill_a_writer(tmp_path, number, after=rng.uniform(0.005, 0.08))
        interrupted += bool(leftovers(tmp_path))
        for path in finished_files(tmp_path):
            assert Cid.parse(path.name).names(path.read_bytes()), "half a block"
        check_heads_and_state(tmp_path)
        store = LocalBlockStore(tmp_path)
        assert store.get(store.put(RAW, bytes([number]))) == bytes([number])  # nothing is locked

    assert interrupted, "no kill came in the middle of a write: this test has shown nothing"
    assert finished_files(tmp_path)


def check_heads_and_state(directory: Path) -> None:
    problems = ErrorLog()
    listener = LocalGossip(directory, None, problems)
    assert all(len(heads) == Limits().heads for heads in listener.heard())
    assert not problems.counts
    state = LocalStateStore(directory / "state").load()
    assert state is None or (len(state) == 1 << 18 and len(set(state)) == 1)


# -- leftovers


def leave_temporary(directory: Path, hours: float) -> Path:
    path = directory / f"{TEMPORARY}123-abcdef"
    path.write_bytes(b"half a bl")
    age(path, hours)
    return path


@pytest.mark.parametrize(
    ("beside", "open_again"),
    [
        ("blocks/aa", LocalBlockStore),
        ("heads", lambda directory: LocalGossip(directory, "two")),
        (".", lambda directory: LocalStateStore(directory / "state")),
    ],
    ids=["blocks", "heads", "state"],
)
def test_old_leftovers_are_removed_and_what_another_process_is_writing_now_stays(tmp_path, beside, open_again):
    (tmp_path / beside).mkdir(parents=True, exist_ok=True)
    old = leave_temporary(tmp_path / beside, hours=2)
    young = old.with_name(f"{TEMPORARY}9-9")
    young.write_bytes(b"half a bl")
    (tmp_path / "state").write_bytes(b"weights")

    open_again(tmp_path)

    assert not old.exists()
    assert young.exists()
    assert (tmp_path / "state").read_bytes() == b"weights"


def write_and_forget(directory: Path, number: int) -> None:
    store, gossip = LocalBlockStore(directory), LocalGossip(directory, f"peer-{number}")
    for turn in range(400):
        store.delete([store.put(RAW, bytes([number, turn % 7]))])
        gossip.announce(HEADS[: turn % 4])


def open_again_and_again(directory: Path, number: int) -> None:
    for _ in range(400):
        LocalBlockStore(directory)
        LocalGossip(directory, "newcomer")


def test_a_peer_can_start_while_others_write(tmp_path):
    with running(write_and_forget, tmp_path, 3), running(open_again_and_again, tmp_path, 2):
        pass


def test_leftovers_are_never_heard(tmp_path, listener, problems):
    leave_temporary(tmp_path / "heads", hours=0)

    assert list(listener.heard()) == []
    assert not problems.counts


# -- heads files that are not what they should be


def good_heads(count: int) -> bytes:
    return dagcbor.encode([Cid.of(DAG_CBOR, number.to_bytes(4)) for number in range(count)])


GARBAGE = {
    "empty": b"",
    "noise": random.Random(1).randbytes(200),
    "not a list": dagcbor.encode({"heads": []}),
    "not links": dagcbor.encode([1, 2, 3]),
    "a number": dagcbor.encode(7),
    "cut short": good_heads(4)[:-1],
    "with a tail": good_heads(4) + b"\x00",
    "oversized": good_heads(1000),
    "deep": b"\x81" * 5000 + b"\x80",
    "a lie about its length": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_damaged_heads_file_is_counted_once_and_the_others_are_heard(tmp_path, listener, problems, garbage):
    LocalGossip(tmp_path, "good").announce(HEADS)
    (tmp_path / "heads" / "bad").write_bytes(garbage)

    assert [list(heads) for heads in listener.heard() if heads] == [HEADS]
    assert sum(problems.counts.values()) == 1
    assert list(listener.heard()) == []
    assert sum(problems.counts.values()) == 1

    LocalGossip(tmp_path, "bad").announce(HEADS[:1])  # its owner has come back
    assert [list(heads) for heads in listener.heard()] == [HEADS[:1]]


def test_the_same_heads_are_not_written_again(tmp_path):
    gossip = LocalGossip(tmp_path, "one")
    gossip.announce(HEADS)
    before = (tmp_path / "heads" / "one").stat()

    gossip.announce(HEADS)

    after = (tmp_path / "heads" / "one").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_more_heads_than_allowed_are_cut_short(tmp_path, listener):
    (tmp_path / "heads" / "chatty").write_bytes(good_heads(Limits().heads + 50))

    assert [len(heads) for heads in listener.heard()] == [Limits().heads]


class StuckError(Exception):
    """Not an OSError as TimeoutError is: adapters rightly survive those."""


@contextmanager
def at_most(seconds: int):
    def stop(*_):
        raise StuckError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


ODD_ENTRIES = {"directory": Path.mkdir, "pipe": os.mkfifo, "symbolic loop": lambda path: path.symlink_to(path.name)}


@pytest.mark.parametrize("make", ODD_ENTRIES.values(), ids=ODD_ENTRIES.keys())
def test_an_entry_that_is_no_file_is_passed_over(tmp_path, listener, make):
    LocalGossip(tmp_path, "good").announce(HEADS)
    make(tmp_path / "heads" / "odd")

    with at_most(60):  # a pipe without a writer must not stop the peer
        assert [list(heads) for heads in listener.heard() if heads] == [HEADS]
        assert list(listener.heard()) == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_a_pipe_or_directory_in_the_place_of_a_block_is_a_missing_block(tmp_path, store, make):
    cid = Cid.of(RAW, b"data")
    path_of(tmp_path, cid).parent.mkdir()
    make(path_of(tmp_path, cid))

    with at_most(60), pytest.raises(BlockMissingError):
        store.get(cid)


def test_a_listener_cannot_announce(listener):
    with pytest.raises(StateError):
        listener.announce(HEADS)


# -- state


def test_only_the_owner_can_read_the_state(tmp_path):
    store = LocalStateStore(tmp_path / "state")
    store.save(b"weights")
    store.save(b"weights again")

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


def test_a_state_that_cannot_be_read_is_an_error_for_people(tmp_path):
    (tmp_path / "state").mkdir()

    with pytest.raises(StateError, match="cannot read"):
        LocalStateStore(tmp_path / "state").load()


# -- what an earlier run said


def test_a_peer_hears_what_its_last_run_announced_until_it_speaks(tmp_path):
    LocalGossip(tmp_path, "peer").announce(HEADS[:2])
    gossip = LocalGossip(tmp_path, "peer")
    assert list(gossip.heard()) == [HEADS[:2]]
    assert list(gossip.heard()) == []
    gossip.announce(HEADS[2:])
    assert list(gossip.heard()) == []


# -- a disk that takes nothing


def test_a_place_that_is_read_only_is_an_error_of_our_own(tmp_path):
    place = tmp_path / "swarm"
    store = LocalBlockStore(place)
    cid = store.put(RAW, b"weights")
    age(path_of(place, cid))
    for prefix in (TEMPORARY, ".aside-"):
        leftover = path_of(place, cid).with_name(f"{prefix}1-{cid}")
        leftover.write_bytes(b"weights")
        age(leftover)
    on_another_shelf = next(
        data for data in map(str, range(9999)) if not (path_of(place, Cid.of(RAW, data.encode()))).parent.exists()
    )
    with read_only(place):
        store = LocalBlockStore(place)
        assert store.put(RAW, b"weights") == cid
        assert store.has(cid)
        assert store.get(cid) == b"weights"
        with pytest.raises(NotWrittenError, match="cannot write"):
            store.put(RAW, on_another_shelf.encode())
        for remove in (lambda: store.delete([cid]), lambda: store.remove_unused(cid, since=time.time())):
            with pytest.raises(NotWrittenError, match="cannot write"):
                remove()
        assert "read-only" in why_unwritable(place) or "denied" in why_unwritable(place)
    store.delete([cid])
    assert why_unwritable(place) == ""
    assert "no space" in why_unwritable(place, 1 << 60)


def test_a_disk_without_room_is_an_error_of_our_own(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        store = LocalBlockStore(disk)
        filler = fill(disk)
        for number in range(40):  # on one shelf or another
            with pytest.raises(NotWrittenError, match="No space left"):
                store.put(RAW, b"%d" % number)
        assert "no space" in why_unwritable(disk)
        assert not leftovers(disk)
        filler.unlink()
        assert store.get(store.put(RAW, b"0")) == b"0"
