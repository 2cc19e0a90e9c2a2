"""The exchanged store: order of exchanges, their health, hostile bytes, bounds, and what is offered to whom."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from block_rows import age
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService, FetchPolicy
from learnae.adapters.composite.exchange_link import AWAY, CONNECTED, LinkPolicy
from learnae.adapters.composite.turns import TurnPolicy
from learnae.adapters.local import arrivals
from learnae.adapters.local.block_database import FILE
from learnae.adapters.local.block_salvage import rebuild
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.errors import EncodingError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, RAW, Cid
from learnae.ports import Exchange
from learnae.simulation.in_memory import MemoryExchange

Make = Callable[..., BlockService]


class Daemon(MemoryExchange):
    """An exchange that can go away, hang, lie, and counts who asked."""

    holds = False

    def __init__(self, warehouse: dict[Cid, bytes] | None = None) -> None:
        self.warehouse = {} if warehouse is None else warehouse
        super().__init__(self.warehouse)
        self.reachable = True
        self.answers = threading.Event()
        self.answers.set()
        self.timeout = 0.3
        self.asked: list[str] = []

    def offer(self, cid: Cid, data: bytes) -> None:
        self.note("offer")
        super().offer(cid, data)

    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        self.note("fetch")
        return super().fetch(cid, most)

    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        self.note("lacking")
        return super().lacking(held)

    def retract(self, cids: Iterable[Cid]) -> None:
        self.note("retract")
        super().retract(cids)

    def close(self) -> None:
        self.answers.set()
        super().close()

    def note(self, what: str) -> None:
        self.asked.append(what)
        if not self.answers.wait(self.timeout):
            raise TransportError("it does not answer")
        if not self.reachable:
            raise TransportError("nobody is there")


SOON = LinkPolicy(first_probe=0.02)
NEVER = LinkPolicy(first_probe=600.0, last_probe=6000.0)
AT_ONCE = FetchPolicy(first_pause=0.02)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[BlockService] = []

    def make_one(
        *exchanges: Exchange,
        wait: bool = True,
        errors: ErrorLog | None = None,
        fetching: FetchPolicy = AT_ONCE,
        linking: LinkPolicy = SOON,
    ) -> BlockService:
        store = BlockService(LocalBlockStore(tmp_path / "here"), errors or ErrorLog(), fetching, linking)
        made.append(store)
        links = store.join({f"exchange {number}": each for number, each in enumerate(exchanges)})
        if wait:
            wait_for(lambda: all(link.state == CONNECTED for link in links.values()), "the exchanges")
        return store

    yield make_one
    for store in made:
        store.close()


def block(number: int) -> tuple[Cid, bytes]:
    data = b"block %d" % number
    return Cid.of(RAW, data), data


def fetched(store: BlockService, cid: Cid) -> bytes:
    """Wants the block again and again, as a peer's ticks do."""

    def arrived() -> bool:
        store.want([cid])
        return store.has(cid)

    wait_for(arrived, f"block {cid}")
    return store.get(cid)


def test_exchanges_are_tried_in_order_and_the_first_that_has_it_is_enough(make: Make) -> None:
    cid, data = block(1)
    first, second, third = Daemon(), Daemon({cid: data}), Daemon({cid: data})
    store = make(first, second, third)
    assert fetched(store, cid) == data
    assert first.asked.count("fetch") == second.asked.count("fetch") == 1
    assert "fetch" not in third.asked


def test_without_exchanges_it_is_a_directory(make: Make) -> None:
    store = make()
    cid = store.put(RAW, b"here")
    store.want([block(1)[0]])
    assert store.get(cid) == b"here"
    assert store.is_idle


def test_what_is_put_is_offered_and_what_is_deleted_is_retracted(make: Make) -> None:
    one, other = Daemon(), Daemon()
    store = make(one, other)
    cid = store.put(RAW, b"mine")
    wait_for(lambda: one.warehouse == other.warehouse == {cid: b"mine"}, "the offers")
    store.delete([cid])
    wait_for(lambda: one.warehouse == other.warehouse == {}, "the retractions")
    assert not store.has(cid)


def test_what_another_peer_of_this_machine_uses_is_not_retracted(make: Make, tmp_path: Path) -> None:
    daemon = Daemon()
    store = make(daemon)
    used, unused = store.put(RAW, b"used"), store.put(RAW, b"unused")
    wait_for(lambda: len(daemon.warehouse) == 2, "the offers")
    age(tmp_path / "here", unused)
    store.delete([used, unused], unused_for=3_600_000)
    wait_for(lambda: store.is_idle, "the store")
    assert daemon.warehouse == {used: b"used"}
    assert store.has(used)


def test_what_another_process_puts_is_offered_soon_where_it_must_be(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_REMEMBERED", 2)
    neighbour, holding, passing = LocalBlockStore(tmp_path / "here"), Daemon(), Daemon()
    old = neighbour.put(RAW, b"old")
    holding.holds = True
    make(holding, passing, linking=LinkPolicy(first_probe=0.02, look=0.02))
    put = [neighbour.put(RAW, b"%d" % number) for number in range(5)]
    wait_for(lambda: set(holding.warehouse) == {old, *put}, "the neighbour's blocks")
    assert set(passing.warehouse) == {old}
    assert holding.asked.count("lacking") == 1, "nothing was gone through a second time"

    neighbour.delete([old, *put])  # so that numbers of rows are given again
    anew = neighbour.put(RAW, b"anew")
    wait_for(lambda: anew in holding.warehouse, "what came after all was deleted")
    neighbour.close()


def test_what_comes_from_one_exchange_is_offered_once_to_the_others_and_not_back(make: Make) -> None:
    cid, data = block(1)
    one, other = Daemon({cid: data}), Daemon()
    store = make(one, other)
    fetched(store, cid)
    store.want([cid])
    wait_for(lambda: other.warehouse == {cid: data}, "the offer")
    wait_for(lambda: store.is_idle, "the store")
    assert "offer" not in one.asked
    assert other.asked.count("offer") == 1


def test_what_is_received_unasked_is_checked_kept_and_offered_to_the_others(make: Make) -> None:
    cid, data = block(1)
    one, other = Daemon(), Daemon()
    store = make(one, other)
    for _ in range(2):
        store.receive(cid, data, "exchange 0")
    wait_for(lambda: other.warehouse == {cid: data}, "the offer")
    wait_for(lambda: store.is_idle, "the store")
    assert store.get(cid) == data
    assert other.asked.count("offer") == 1
    assert one.warehouse == {}
    with pytest.raises(EncodingError):
        store.receive(block(2)[0], data, "exchange 0")
    assert not store.has(block(2)[0])


def test_wrong_bytes_are_refused_counted_and_another_exchange_heals(make: Make) -> None:
    cid, data = block(1)
    liar, honest, problems = Daemon({cid: b"poison"}), Daemon({cid: data}), ErrorLog()
    store = make(liar, honest, errors=problems)
    assert fetched(store, cid) == data
    wait_for(lambda: problems.counts == {"EncodingError": 1}, "the lie to be counted")
    assert "exchange 0 sent wrong bytes" in problems.last["EncodingError"]


def test_a_liar_is_left_alone_longer_and_longer(make: Make) -> None:
    cids = [block(number)[0] for number in range(20)]
    liar = Daemon(dict.fromkeys(cids, b"poison"))
    store = make(liar, linking=NEVER)
    store.want(cids[:1])
    wait_for(lambda: store.is_idle, "the store")
    store.want(cids[1:])
    wait_for(lambda: store.is_idle, "the store")
    assert liar.asked.count("fetch") == 1
    assert not any(store.has(cid) for cid in cids)


def test_a_dead_exchange_costs_one_timeout_and_is_then_skipped(make: Make) -> None:
    blocks = dict(block(number) for number in range(20))
    dead, alive = Daemon(), Daemon(blocks)
    store = make(dead, alive, fetching=FetchPolicy(workers=1, first_pause=0.02), linking=NEVER)
    dead.answers.clear()
    for cid, data in blocks.items():
        assert fetched(store, cid) == data
    assert dead.asked.count("fetch") == 1


def test_calls_that_fail_together_are_one_failure(make: Make) -> None:
    daemon = Daemon()
    daemon.timeout = 60
    store = make(daemon, linking=NEVER)
    daemon.answers.clear()
    store.want([block(number)[0] for number in range(6)])
    wait_for(lambda: daemon.asked.count("fetch") == 6, "all fetches")
    daemon.reachable = False
    daemon.answers.set()
    wait_for(lambda: store.is_idle, "the store")
    assert store._links[0]._backoff.seconds == 2 * NEVER.first_probe


def test_the_way_down_and_the_way_up_are_said_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "learnae")
    daemon, problems = Daemon(), ErrorLog()
    daemon.reachable = False
    store = make(daemon, wait=False, errors=problems)
    cid = store.put(RAW, b"works alone")
    assert store.get(cid) == b"works alone"
    wait_for(lambda: len(daemon.asked) > 4, "probes")
    daemon.reachable = True
    wait_for(lambda: daemon.warehouse == {cid: b"works alone"}, "the offer")
    store.want([])
    assert [record.getMessage() for record in caplog.records] == [
        "exchange 0: nobody is there; working without it, it is tried again",
        "exchange 0: connected",
    ]
    assert problems.counts == {"TransportError": 1}


def test_a_daemon_that_has_lost_everything_is_given_it_again(make: Make) -> None:
    daemon = Daemon()
    store = make(daemon)
    kept = {store.put(RAW, data): data for data in (b"one", b"two", b"three")}
    wait_for(lambda: daemon.warehouse == kept, "the offers")
    daemon.reachable = False
    store.put(RAW, b"meanwhile")
    wait_for(lambda: store._links[0].state == AWAY, "the failure to be noticed")
    daemon.warehouse.clear()
    daemon.reachable = True
    wait_for(lambda: len(daemon.warehouse) == 4, "all blocks")


def test_a_daemon_that_loses_everything_unnoticed_is_given_it_at_the_next_review(make: Make) -> None:
    daemon = Daemon()
    store = make(daemon, linking=LinkPolicy(review=0.05))
    cid = store.put(RAW, b"one")
    wait_for(lambda: daemon.warehouse == {cid: b"one"}, "the offer")
    daemon.warehouse.clear()
    wait_for(lambda: daemon.warehouse == {cid: b"one"}, "the next offer")


def test_a_store_is_not_idle_before_it_knows_what_an_exchange_lacks(make: Make) -> None:
    daemon = Daemon()
    daemon.timeout = 60
    daemon.answers.clear()
    store = make(daemon, wait=False)
    assert not store.is_idle
    wait_for(lambda: daemon.asked == ["lacking"], "the first question")
    assert not store.is_idle
    daemon.answers.set()
    wait_for(lambda: store.is_idle, "the store")


def test_more_than_a_link_remembers_is_offered_all_the_same(make: Make) -> None:
    daemon = Daemon()
    daemon.reachable = False
    store = make(daemon, wait=False, linking=LinkPolicy(first_probe=0.02, jobs=5))
    for number in range(40):
        store.put(RAW, block(number)[1])
    assert len(store._links[0]._jobs) <= 5
    daemon.reachable = True
    wait_for(lambda: len(daemon.warehouse) == 40, "all blocks")


def test_wishes_are_bounded_and_not_repeated(make: Make) -> None:
    daemon = Daemon()
    store = make(daemon, fetching=FetchPolicy(workers=1, turns=TurnPolicy(names=10), remembered=10, first_pause=0.02))
    daemon.answers.clear()
    for _ in range(5):
        store.want([block(number)[0] for number in range(100)])
    assert store._turns.waiting <= 10
    daemon.answers.set()
    wait_for(lambda: store.is_idle, "the store")
    for start in range(0, 100, 10):
        store.want([block(number)[0] for number in range(start, start + 10)])
        wait_for(lambda: store.is_idle, "the store")
    assert len(store._later) <= 10


def test_what_nobody_has_is_asked_for_ever_more_seldom(make: Make) -> None:
    daemon = Daemon()
    store = make(daemon, fetching=FetchPolicy(first_pause=600.0, last_pause=600.0))
    for _ in range(20):
        store.want([block(1)[0]])
        wait_for(lambda: store.is_idle, "the store")
    assert daemon.asked.count("fetch") == 1


def test_a_block_that_is_deleted_while_it_is_fetched_stays_away(make: Make) -> None:
    cid, data = block(1)
    daemon = Daemon({cid: data})
    daemon.timeout = 60
    daemon.retract = lambda cids: daemon.asked.append("retract")  # others still have it
    store = make(daemon)
    daemon.answers.clear()
    store.want([cid])
    wait_for(lambda: "fetch" in daemon.asked, "the fetch")
    store.delete([cid])
    daemon.answers.set()
    wait_for(lambda: store.is_idle, "the store")
    assert not store.has(cid)
    assert daemon.asked[-1] == "retract"  # an exchange that keeps blocks may have kept it


@pytest.mark.parametrize("moment", ["before it is kept", "after it was kept"])
@pytest.mark.parametrize("put_again", [False, True])
def test_a_block_that_is_deleted_while_it_is_being_kept_stays_away(
    make: Make, monkeypatch: pytest.MonkeyPatch, moment: str, put_again: bool
) -> None:
    cid, data = block(1)
    daemon, other = Daemon({cid: data}), Daemon()
    store = make(daemon, other)
    keep = LocalBlockStore.keep

    def interrupted(self: LocalBlockStore, *block: object) -> None:
        monkeypatch.undo()
        before = moment == "before it is kept"
        if not before:
            keep(self, cid, data)
        store.delete([cid])
        if put_again:
            assert store.put(RAW, data) == cid
        if before:
            keep(self, cid, data)

    monkeypatch.setattr(LocalBlockStore, "keep", interrupted)
    store.want([cid])
    wait_for(lambda: "fetch" in daemon.asked, "the fetch")
    wait_for(lambda: store.is_idle, "the store")
    assert store.has(cid) == put_again
    assert other.warehouse == ({cid: data} if put_again else {})
    assert daemon.asked[-1] == ("offer" if put_again else "retract")


def test_no_call_waits_for_a_hanging_exchange_and_closing_ends_all_threads(make: Make) -> None:
    daemon = Daemon()
    store = make(daemon)
    daemon.answers.clear()
    daemon.timeout = 60
    cid = store.put(RAW, b"quick")
    for number in range(50):
        store.want([block(number)[0]])
    store.delete([cid])
    assert store._links[0].state == CONNECTED, "a call of the port has waited for the timeout"
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(("link", "fetch"))]
    store.close()
    assert threads
    wait_for(lambda: not any(thread.is_alive() for thread in threads), "their end")


def test_who_leaves_says_the_last_things(make: Make) -> None:
    daemon = Daemon()
    store = make(daemon, linking=LinkPolicy(drain=60.0))
    names = [store.put(RAW, block(number)[1]) for number in range(100)]
    store.close()
    assert set(daemon.warehouse) == set(names)


def test_a_damaged_database_ends_no_thread(make: Make, tmp_path: Path) -> None:
    cid, data = block(1)
    errors = ErrorLog()
    store = make(Daemon({cid: data}), errors=errors)
    path = tmp_path / "here" / FILE
    store.local.close()
    path.write_bytes(b"rot" * 5000)
    store.want([cid])
    wait_for(lambda: "DamagedError" in errors.counts, "the damage to be counted")
    rebuild(path)
    wait_for(lambda: store.want([cid]) or store.has(cid), "the block")
    assert store.get(cid) == data


def test_who_names_what_there_is_waits_for_no_stranger(make: Make) -> None:
    """Eight workers, and strangers that name thousands of blocks for each of which an exchange is waited for."""
    daemon, known = Daemon(), [block(number) for number in range(2)]
    daemon.timeout = 60
    store = make(daemon, fetching=FetchPolicy(first_pause=600.0, last_pause=600.0))
    daemon.warehouse.update(dict(known))
    store.want([known[0][0]], origin="honest")
    wait_for(lambda: store.has(known[0][0]), "what shows that it names what there is")
    daemon.answers.clear()
    for stranger in range(9):
        store.want([block(1000 * stranger + number)[0] for number in range(2, 900)], origin=f"stranger {stranger}")
    wait_for(lambda: daemon.asked.count("fetch") == 5, "half of the workers to look for what strangers name")
    store.want([known[1][0]], origin="honest")
    wait_for(lambda: daemon.asked.count("fetch") == 6, "a worker that looks for what is true")
    store.want([block(99_999)[0]])
    wait_for(lambda: daemon.asked.count("fetch") == 7, "a worker for what this peer wants of itself")
    daemon.answers.set()
    wait_for(lambda: store.has(known[1][0]) and store.is_idle, "the end")
    assert daemon.asked.count("fetch") <= 3 + 9 * TurnPolicy().vain


@pytest.mark.parametrize("is_refused", [False, True])
def test_blocks_are_fetched_no_larger_than_they_may_be_and_what_is_refused_is_booked(make: Make, is_refused) -> None:
    """A stranger names blocks that there are and that are worth nothing, or that are larger than any message."""
    blocks = {Cid.of(RAW, data): data for data in (bytes([number]) * 1000 for number in range(100))}
    store = make(Daemon(blocks), fetching=FetchPolicy(turns=TurnPolicy(refused_bytes=3000, refused_rate=0.0)))
    for cid in list(blocks):
        store.want([cid], 1000 if is_refused else 999, "stranger")
        wait_for(lambda: store.is_idle, "the store")
        if is_refused and store.has(cid):
            store.refuse(cid)
    assert list(store.cids()) == []
    assert store.errors.counts == ({} if is_refused else {"LimitError": 3})
    assert store._links[0].exchange.asked.count("fetch") == 3


def test_what_comes_unasked_waits_in_memory_until_it_is_read(make: Make) -> None:
    daemon = Daemon()
    store, (cid, data) = make(daemon), block(1)
    store.receive(cid, data, "another", by="author")
    assert store.has(cid)
    assert list(store.cids()) == []
    assert daemon.warehouse == {}
    assert store.get(cid) == data
    assert list(store.cids()) == [cid]
    wait_for(lambda: daemon.warehouse == {cid: data}, "the offer")
    for number in range(2, 2000):
        large = b"%d " % number * 5000
        store.receive(Cid.of(RAW, large), large, "another", by="stranger")
    other, small = block(2)
    store.receive(other, small, "another", by="author")
    assert store._lobby._bytes <= 4 << 20
    assert store.has(other)
    assert list(store.cids()) == [cid]
