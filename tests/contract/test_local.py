"""The local adapters with real files, real processes and ``kill -9``."""

import os
import random
import signal
import stat
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from builders import some_entry
from children import PROCESSES, kill, running

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.basics.error_log import ErrorLog
from learnae.errors import StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import RAW
from learnae.ports import Heard
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.system.atomic_files import TEMPORARY

NEWS = [Announcement(tuple(some_entry(author, seq) for author in range(64))) for seq in range(4)]
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
        gossip.announce(NEWS[turn % 4])


def test_announcements_that_are_replaced_while_others_read_are_always_whole(tmp_path, listener, problems):
    heard = []
    with running(announce_often, 3, tmp_path) as writers:
        while any(writer.is_alive() for writer in writers):
            heard += listener.heard()
    heard += listener.heard()

    assert not problems.counts
    assert heard
    assert all(each.announcement in NEWS for each in heard)


# -- kill -9


def write_until_killed(directory: Path, number: int, begun: Event) -> None:
    """Blocks, heads and state, as fast as the disk takes them."""
    store, gossip = LocalBlockStore(directory), LocalGossip(directory, "writer")
    state, rng = LocalStateStore(directory / "state"), random.Random(number)
    begun.set()
    while True:
        store.put(RAW, rng.randbytes(100))
        gossip.announce(rng.choice(NEWS))
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
    rng, interrupted = random.Random(batch), False
    for number in range(10 * KILLS):
        if interrupted and number >= KILLS // 3:
            break
        kill_a_writer(tmp_path, number, after=rng.uniform(0.005, 0.08))
        interrupted |= bool(leftovers(tmp_path))
        with closing(LocalBlockStore(tmp_path)) as store:
            held = list(store.cids())
            for cid in held:
                store.get(cid)  # raises EncodingError for half a block
            assert store.get(store.put(RAW, bytes([number]))) == bytes([number])  # nothing is locked
        check_announcement_and_state(tmp_path)

    assert interrupted, "no kill came in the middle of a write: this test has shown nothing"
    assert held


def check_announcement_and_state(directory: Path) -> None:
    problems = ErrorLog()
    listener = LocalGossip(directory, None, problems)
    assert all(each.announcement in NEWS for each in listener.heard())
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
        gossip.announce(NEWS[turn % 4])


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


# -- announcements that are not what they should be


def announcing(count: int) -> bytes:
    return dagcbor.encode(Announcement(tuple(map(some_entry, range(count)))).to_fields())


GARBAGE = {
    "empty": b"",
    "noise": random.Random(1).randbytes(200),
    "a list": dagcbor.encode([]),
    "no entries": dagcbor.encode({"v": 1, "kept": [], "authors": [1, 2, 3]}),
    "another version": dagcbor.encode({"v": 2, "kept": [], "authors": []}),
    "a number": dagcbor.encode(7),
    "cut short": announcing(4)[:-1],
    "with a tail": announcing(4) + b"\x00",
    "more than allowed": announcing(Limits().entries + 1),
    "oversized": announcing(1000),
    "deep": b"\x81" * 5000 + b"\x80",
    "a lie about its length": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_damaged_announcement_is_counted_once_and_the_others_are_heard(tmp_path, listener, problems, garbage):
    LocalGossip(tmp_path, "good").announce(NEWS[0])
    (tmp_path / "heads" / "bad").write_bytes(garbage)

    assert [heard for heard in listener.heard() if heard.announcement] == [Heard("good", NEWS[0])]
    assert sum(problems.counts.values()) == 1
    assert list(listener.heard()) == []
    assert sum(problems.counts.values()) == 1

    LocalGossip(tmp_path, "bad").announce(NEWS[1])  # its owner has come back
    assert list(listener.heard()) == [Heard("bad", NEWS[1])]


def test_the_same_announcement_is_not_written_again(tmp_path):
    gossip = LocalGossip(tmp_path, "one")
    gossip.announce(NEWS[0])
    before = (tmp_path / "heads" / "one").stat()

    gossip.announce(NEWS[0])

    after = (tmp_path / "heads" / "one").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_authors_say_of_themselves_is_not_said_again(tmp_path):
    names = [peer_name(bytes([number]) * 32) for number in range(2)]
    one, other = (LocalGossip(tmp_path, name) for name in names)
    mine, theirs = (replace(some_entry(number, seq=3), author=bytes([number]) * 8) for number in range(2))
    later, earlier = (replace(theirs, seq=seq, head=some_entry(9, seq).head) for seq in (4, 2))
    one.announce(Announcement((mine,)))
    before = (tmp_path / "heads" / names[0]).stat().st_ino

    other.announce(Announcement((theirs,)))
    list(one.heard())
    for entry in (theirs, earlier):
        one.announce(Announcement((mine, entry)))
    assert (tmp_path / "heads" / names[0]).stat().st_ino == before, "all who read here know it"

    for entry in (later, replace(theirs, head=later.head)):  # heard elsewhere, or the author has said two things
        one.announce(Announcement((mine, entry)))
        assert list(other.heard()) == [Heard(names[0], Announcement((mine, entry)))]
    one.announce(Announcement((mine,)))
    list(other.heard())
    (tmp_path / "heads" / names[1]).unlink()
    list(one.heard())
    one.announce(Announcement((mine, theirs)))
    assert list(other.heard()) == [Heard(names[0], Announcement((mine, theirs)))], "the file that said it is gone"


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
    LocalGossip(tmp_path, "good").announce(NEWS[0])
    make(tmp_path / "heads" / "odd")

    with at_most(60):  # a pipe without a writer must not stop the peer
        assert [heard for heard in listener.heard() if heard.announcement] == [Heard("good", NEWS[0])]
        assert list(listener.heard()) == []


def test_of_many_files_those_that_are_known_are_read(tmp_path, problems):
    LocalGossip(tmp_path, "good").announce(NEWS[0])
    listener = LocalGossip(tmp_path, None, problems)
    assert [heard.announcer for heard in listener.heard()] == ["good"]
    for number in range(2000):
        (tmp_path / "heads" / f"stranger {number}").write_bytes(b"")
    for _ in range(3):
        assert len(list(listener.heard())) <= 1024
    LocalGossip(tmp_path, "good").announce(NEWS[1])
    assert Heard("good", NEWS[1]) in list(listener.heard())
    assert "1,024 files" in problems.last["LimitError"]


def test_neither_files_nor_directories_are_read_through_links(tmp_path, listener):
    LocalGossip(tmp_path / "other", "secret").announce(NEWS[0])
    (tmp_path / "heads" / "linked").symlink_to(tmp_path / "other" / "heads" / "secret")
    assert not any(heard.announcement for heard in listener.heard())
    (tmp_path / "swarm").mkdir()
    (tmp_path / "swarm" / "heads").symlink_to(tmp_path / "heads")
    with pytest.raises(StateError, match="is a link"):
        LocalGossip(tmp_path / "swarm", "peer")


def test_a_directory_that_others_may_write_to_is_refused(tmp_path):
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads").chmod(0o777)
    with pytest.raises(StateError, match="chmod go-w"):
        LocalGossip(tmp_path, "peer")


def test_of_keys_only_those_of_members_are_read(tmp_path):
    member, stranger = bytes(32), bytes(31) + b"x"
    for name in (peer_name(member), peer_name(stranger), "members"):
        LocalGossip(tmp_path, name).announce(NEWS[0])
    admitted = {member}
    listener = LocalGossip(tmp_path, None, admits=admitted.__contains__)
    assert {heard.announcer for heard in listener.heard()} == {peer_name(member), "members"}
    admitted.add(stranger)
    assert [heard.announcer for heard in listener.heard()] == [peer_name(stranger)]


def test_a_listener_cannot_announce(listener):
    with pytest.raises(StateError):
        listener.announce(NEWS[0])


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


# -- the own file


def test_a_peer_hears_what_its_last_run_announced_until_it_speaks(tmp_path):
    LocalGossip(tmp_path, "peer").announce(NEWS[0])
    gossip = LocalGossip(tmp_path, "peer")
    assert list(gossip.heard()) == [Heard("peer", NEWS[0])]
    assert list(gossip.heard()) == []
    gossip.announce(NEWS[1])
    assert list(gossip.heard()) == []


def test_two_processes_with_one_key_hear_each_other(tmp_path):
    one, other = LocalGossip(tmp_path, "peer"), LocalGossip(tmp_path, "peer")
    one.announce(NEWS[0])
    other.announce(NEWS[1])
    assert list(one.heard()) == [Heard("peer", NEWS[1])]
    assert list(other.heard()) == []
    one.announce(NEWS[2])
    assert list(other.heard()) == [Heard("peer", NEWS[2])]
    assert list(one.heard()) == []
