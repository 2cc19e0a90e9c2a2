"""The local adapters with real files, real processes and ``kill -9``."""

import os
import random
import signal
import stat
import time
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from children import PROCESSES, kill, running

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.error_log import ErrorLog
from learnae.errors import StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.protocol.limits import Limits
from learnae.system.atomic_files import TEMPORARY

HEADS = [Cid.of(DAG_CBOR, bytes([number])) for number in range(4)]
KILLS = 30


def leftovers(directory: Path) -> list[Path]:
    return list(directory.rglob(f"{TEMPORARY}*"))


def age(path: Path, hours: float = 2) -> None:
    os.utime(path, (time.time() - 3600 * hours,) * 2)


@pytest.fixture
def problems():
    return ErrorLog()


@pytest.fixture
def listener(tmp_path, problems):
    return LocalGossip(tmp_path, None, problems)


# -- many processes at once


def announce_often(directory: Path, number: int) -> None:
    gossip = LocalGossip(directory, f"peer-{number}")
    for turn in range(300):
        gossip.announce(HEADS * (1 + turn % 16))


def test_heads_that_are_replaced_while_others_read_are_always_whole(tmp_path, listener, problems):
    heard = []
    with running(announce_often, 3, tmp_path) as writers:
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
        store.put(RAW, rng.randbytes(100))
        gossip.announce([Cid.of(DAG_CBOR, rng.randbytes(8)) for _ in range(Limits().heads)])
        state.save(bytes([rng.randrange(256)]) * (1 << 18))


def kill_a_writer(directory: Path, number: int, after: float) -> None:
    begun = PROCESSES.Event()  # how soon a process starts is the machine's affair
    writer = PROCESSES.Process(target=write_until_killed, args=(directory, number, begun))
    writer.start()
    assert begun.wait(60)
    time.sleep(after)
    kill(writer)


@pytest.mark.parametrize("batch", range(3))
def test_a_killed_writer_leaves_nothing_half_done_and_no_lock(tmp_path, batch):
    rng, interrupted = random.Random(batch), 0
    for number in range(KILLS // 3):
        kill_a_writer(tmp_path, number, after=rng.uniform(0.005, 0.08))
        interrupted += bool(leftovers(tmp_path))
        with closing(LocalBlockStore(tmp_path)) as store:
            held = list(store.cids())
            for cid in held:
                store.get(cid)  # raises EncodingError for half a block
            assert store.get(store.put(RAW, bytes([number]))) == bytes([number])  # nothing is locked
        check_heads_and_state(tmp_path)

    assert interrupted, "no kill came in the middle of a write: this test has shown nothing"
    assert held


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
        (".", LocalBlockStore),
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
        LocalBlockStore(directory).close()
        LocalGossip(directory, "newcomer")


def test_a_peer_can_start_while_others_write(tmp_path):
    with running(write_and_forget, 3, tmp_path), running(open_again_and_again, 2, tmp_path):
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
