"""The adapters for Kubo against real daemons that hang, die, forget, start late, or ask who is there."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import some_cid, some_entry
from kubo import Kubo
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.composite.exchange_link import AWAY, CONNECTED, LinkPolicy
from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.config.sections import IpfsSection
from learnae.errors import BlockMissingError, ConfigurationError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.ports import Heard
from learnae.protocol.announcements import Announcement

pytestmark = [pytest.mark.engine("ipfs"), pytest.mark.modules("ipfshttpclient")]
SWARM = Cid.of(DAG_CBOR, b"swarm")
SAID = Announcement((some_entry(1, 7),), (some_cid(1),))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    """One that nobody kills."""
    with Kubo(tmp_path_factory.mktemp("daemon") / "kubo") as found:
        yield found


@pytest.fixture
def kubo(tmp_path: Path) -> Iterator[Kubo]:
    """One that this test may do anything to; not started."""
    found = Kubo(tmp_path / "kubo")
    yield found
    found.kill()


class Opened:
    """Makes exchanges, gossips and stores, and closes them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._closers: list[Callable[[], None]] = []

    def exchange(
        self, kubo: Kubo, connect: str = "", timeout: float = 60, label: str = "", waits: Any = None, **settings: str
    ) -> Any:
        from learnae.adapters.ipfs.exchange import Acquaintances, KuboExchange, KuboWaits, pin_name
        from learnae.adapters.ipfs.rpc import KuboRpc

        section = IpfsSection(**{"api": kubo.api, "connect": connect, "timeout": timeout, **settings})
        rpc = KuboRpc.from_section(section)
        self._closers.append(rpc.close)
        acquaintances = Acquaintances(rpc, section.addresses, section.timeout, interval=0.1)
        # what is there comes at once, however busy the machine is, which may keep a daemon from saying that nothing is
        waits = KuboWaits(**{"first": 5.0, "grace": 60.0, **(waits or {})})
        return KuboExchange(rpc, label or pin_name(SWARM, self.directory), timeout, acquaintances, waits)

    def gossip(self, kubo: Kubo, name: str, **options: Any) -> Any:
        from learnae.adapters.ipfs.exchange import Acquaintances
        from learnae.adapters.ipfs.pubsub import KuboGossip
        from learnae.adapters.ipfs.rpc import KuboRpc

        rpc = KuboRpc(kubo.api)
        gossip = KuboGossip(rpc, str(SWARM), name, 5, Acquaintances(rpc, [], 1), **options)
        self._closers.append(gossip.close)
        return gossip

    def store(self, at: str = "store", errors: ErrorLog | None = None, **exchanges: Any) -> BlockService:
        store = BlockService(
            LocalBlockStore(self.directory / at), errors or ErrorLog(), linking=LinkPolicy(last_probe=0.5)
        )
        store.join(exchanges)
        self._closers.append(store.close)
        return store

    def close(self) -> None:
        while self._closers:
            self._closers.pop()()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    found = Opened(tmp_path)
    yield found
    found.close()


def state(store: BlockService, number: int = 0) -> str:
    return store._links[number].state


def fetched(store: BlockService, cid: Cid) -> bytes:
    def arrived() -> bool:
        store.want([cid])
        return store.has(cid)

    wait_for(arrived, f"block {cid}")
    return store.get(cid)


# -- pins


def test_blocks_are_pinned_directly_under_a_name_and_read_by_ipfs_itself(daemon: Kubo, opened: Opened) -> None:
    raw, message = b"\x00weights\xff", dagcbor.encode({"parents": [Cid.of(RAW, b"far away")], "seq": 7})
    one, other = Cid.of(RAW, raw), Cid.of(DAG_CBOR, message)
    exchange = opened.exchange(daemon)
    exchange.offer(one, raw)
    exchange.offer(other, message)
    assert {daemon.pins()[str(cid)] for cid in (one, other)} == {exchange.label}
    assert exchange.label.startswith(f"learnae {SWARM} ")
    assert daemon.run("block", "get", str(one)) == raw
    assert daemon.run("dag", "get", "--output-codec=dag-cbor", str(other)) == message
    exchange.retract([one, other])
    assert not {str(one), str(other)} & set(daemon.pins())


def test_pins_whose_blocks_are_gone_are_removed_and_those_of_others_stay(daemon: Kubo, opened: Opened) -> None:
    ours, another = opened.exchange(daemon), opened.exchange(daemon, label="learnae another")
    kept, gone, theirs = (Cid.of(RAW, data) for data in (b"kept", b"gone", b"theirs"))
    ours.offer(kept, b"kept")
    ours.offer(gone, b"gone")  # and then this machine died before it could retract it
    another.offer(theirs, b"theirs")
    users = daemon.run("add", "-q", "--raw-leaves", "--cid-version=1", input=b"users").decode().strip()

    assert set(opened.exchange(daemon).lacking(lambda: [kept])) == set()

    assert set(daemon.pins()) >= {str(kept), str(theirs)}
    assert str(gone) not in daemon.pins()
    assert users in daemon.run("pin", "ls", "--type=recursive", "-q").decode()
    ours.retract([Cid.parse(users)])  # the user has pinned it for another reason
    assert users in daemon.run("pin", "ls", "--type=recursive", "-q").decode()


def test_what_is_pinned_while_pins_are_compared_stays_pinned(daemon: Kubo, opened: Opened) -> None:
    cid = Cid.of(RAW, b"deleted, and fetched again")
    opened.exchange(daemon).offer(cid, b"deleted, and fetched again")
    exchange, here = opened.exchange(daemon), list[Cid]()
    peer = opened.exchange(daemon)  # of another process, with the same directory

    def look() -> list[Cid]:
        held = list(here)
        peer.fetch(cid)
        here.append(cid)
        peer.keep(cid)
        return held

    for missing in exchange.lacking(look):
        exchange.offer(missing, b"deleted, and fetched again")
    assert str(cid) in daemon.pins()
    assert set(exchange.lacking(lambda: here)) == set()
    assert set(exchange.lacking(list)) == set()
    assert str(cid) not in daemon.pins()


def test_what_is_fetched_is_pinned_once_it_is_here_so_that_nobody_takes_the_pin_for_a_leftover(
    daemon: Kubo, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid, pinned_before = Cid.of(RAW, b"on its way"), list[bool]()
    daemon.run("block", "put", "-", input=b"on its way")
    cleaner = opened.exchange(daemon)  # of another process, such as ``learnae blocks --gc``
    store = opened.store(ipfs=opened.exchange(daemon))
    wait_for(lambda: state(store) == CONNECTED, "the link")
    local, keep = store.local, store.local.keep

    def kept(cid: Cid, data: bytes) -> None:
        assert set(cleaner.lacking(local.cids)) == set()
        pinned_before.append(str(cid) in daemon.pins())
        keep(cid, data)

    monkeypatch.setattr(local, "keep", kept)
    assert fetched(store, cid) == b"on its way"
    wait_for(lambda: str(cid) in daemon.pins(), "the pin")
    assert pinned_before == [False]


def test_what_one_call_could_not_pin_for_others_the_next_one_pins(daemon: Kubo, opened: Opened) -> None:
    exchange, blocks = opened.exchange(daemon), [b"fetched", b"of another thread", b"offered"]
    cids = [Cid.of(RAW, data) for data in blocks]
    for data in blocks[:2]:
        daemon.run("block", "put", "-", input=data)
    ask = exchange.rpc.ask

    def refused(command: str, *arguments: str, **options: Any) -> Any:
        if command == "pin/add":
            exchange.rpc.ask = ask
            raise TransportError("the connection is lost")
        return ask(command, *arguments, **options)

    exchange.rpc.ask = refused
    exchange._to_pin[cids[1]] = None  # its thread has left it to the one that pins
    with pytest.raises(TransportError):
        exchange.keep(cids[0])
    exchange.offer(cids[2], blocks[2])
    assert {str(cid) for cid in cids} <= set(daemon.pins())


def test_what_is_fetched_survives_the_garbage_collection(daemon: Kubo, opened: Opened, kubo: Kubo) -> None:
    kubo.start()
    kubo.join(daemon)
    cid = Cid.of(RAW, b"collected?")
    opened.exchange(daemon).offer(cid, b"collected?")
    exchange = opened.exchange(kubo)
    assert exchange.fetch(cid) == b"collected?"
    exchange.keep(cid)
    kubo.run("repo", "gc")
    assert kubo.run("--offline", "block", "get", str(cid)) == b"collected?"


def test_missing_blocks_are_waited_for_longer_each_time(daemon: Kubo, opened: Opened) -> None:
    exchange, cid = opened.exchange(daemon, timeout=60, waits={"first": 0.05}), Cid.of(RAW, b"nowhere")
    with pytest.raises(BlockMissingError, match="deadline"):
        exchange.fetch(cid)
    assert exchange._backoffs.seconds(cid) == 0.1
    for _ in range(8):
        exchange._backoffs.failed(cid)
    assert exchange._backoffs.seconds(cid) == pytest.approx(25.6)
    daemon.run("block", "put", "-", input=b"nowhere")
    assert exchange.fetch(cid) == b"nowhere"
    assert exchange._backoffs.seconds(cid) == 0.05


def test_what_a_peer_without_a_daemon_puts_is_soon_in_the_daemon_of_its_neighbour(
    daemon: Kubo, kubo: Kubo, opened: Opened, tmp_path: Path
) -> None:
    kubo.start()
    kubo.join(daemon)
    store = opened.store(ipfs=opened.exchange(daemon))
    wait_for(lambda: state(store) == CONNECTED, "the link")
    neighbour = LocalBlockStore(tmp_path / "store")
    frame = neighbour.put(RAW, b"weights" * 100_000)
    message = neighbour.put(DAG_CBOR, dagcbor.encode({"parents": [frame], "seq": 8}))
    far = opened.store("far", ipfs=opened.exchange(kubo))
    assert fetched(far, message) == neighbour.get(message)
    assert fetched(far, frame) == neighbour.get(frame)
    assert {str(frame), str(message)} <= set(daemon.pins())
    neighbour.close()


def test_a_block_that_another_process_has_given_is_not_given_again(daemon: Kubo, opened: Opened) -> None:
    cid = Cid.of(RAW, b"given by one of two")
    opened.exchange(daemon).offer(cid, b"given by one of two")
    exchange, commands = opened.exchange(daemon), []
    ask = exchange.rpc.ask
    exchange.rpc.ask = lambda command, *words, **options: commands.append(command) or ask(command, *words, **options)
    exchange.offer(cid, b"given by one of two")
    exchange.offer(cid, b"given by one of two")
    assert commands == ["pin/ls"]


# -- ways to the daemon


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_gateway_of_this_machine_by_any_name(daemon: Kubo, name: str) -> None:
    daemon.run("block", "put", "-", input=b"read at a gateway")
    gateway = GatewayExchange(f"http://{name}:{daemon.gateway_port}", 60)
    assert gateway.fetch(Cid.of(RAW, b"read at a gateway")) == b"read at a gateway"
    assert gateway.lacking(list) == ()
    gateway.close()


def test_unix_sockets_by_any_path(opened: Opened, tmp_path: Path) -> None:
    directories = [tmp_path / name for name in ("run", "Run", "my run", "a+b", "50%25", "läufe")]
    for directory in directories:
        directory.mkdir()
    addresses = [f"/unix{directory}/Api.sock" for directory in directories]
    with Kubo(tmp_path / "kubo", settings={"Addresses.API": addresses}) as kubo:
        for address in addresses:
            exchange = opened.exchange(kubo, api=address)
            cid = Cid.of(RAW, address.encode())
            exchange.offer(cid, address.encode())
            assert exchange.fetch(cid) == address.encode()


def test_a_daemon_that_asks_who_is_there(opened: Opened, tmp_path: Path) -> None:
    allowed = {"learnae": {"AuthSecret": "bearer:sesame", "AllowedPaths": ["/api/v0"]}}
    (tmp_path / "token").write_text("bearer:sesame\n")
    (tmp_path / "wrong").write_text("bearer:wrong\n")
    cid = Cid.of(RAW, b"secret")
    with Kubo(tmp_path / "kubo", settings={"API.Authorizations": allowed}) as kubo:
        opened.exchange(kubo, token_file=str(tmp_path / "token")).offer(cid, b"secret")
        for settings in ({}, {"token_file": str(tmp_path / "wrong")}):
            with pytest.raises(TransportError, match="does not let us in"):
                opened.exchange(kubo, **settings).offer(cid, b"secret")
    with pytest.raises(ConfigurationError, match="token_file"):
        opened.exchange(kubo, token_file=str(tmp_path / "nothing"))


def test_daemons_named_in_the_configuration_are_met_when_they_appear(daemon: Kubo, kubo: Kubo, opened: Opened) -> None:
    cid = Cid.of(RAW, b"from a stranger")
    here = opened.exchange(daemon, connect=kubo.address, timeout=1)
    store = opened.store(ipfs=here)
    wait_for(lambda: state(store) == CONNECTED, "the link: a named daemon that is away is no failure")
    kubo.start()
    opened.exchange(kubo).offer(cid, b"from a stranger")
    assert fetched(store, cid) == b"from a stranger"


# -- a daemon that fails


def test_no_daemon_at_the_start_then_it_appears(kubo: Kubo, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "learnae")
    store = opened.store(ipfs=opened.exchange(kubo))
    cid = store.put(RAW, b"before")
    wait_for(lambda: state(store) == AWAY, "the failure")
    assert store.get(cid) == b"before"
    kubo.start()
    wait_for(lambda: str(cid) in kubo.pins(), "the block in Kubo")
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("ipfs: ")]
    assert [line.partition(";")[0] for line in said] == [
        f"ipfs: Kubo at {kubo.api} cannot be reached",
        "ipfs: connected",
    ]


def test_killed_in_the_middle_of_a_get_and_back_with_an_empty_repository(
    daemon: Kubo, kubo: Kubo, opened: Opened
) -> None:
    kubo.start()
    problems = ErrorLog()
    store = opened.store(errors=problems, ipfs=opened.exchange(kubo, waits={"first": 60.0}))
    kept = [store.put(RAW, b"%d" % number * 1000) for number in range(5)]
    wait_for(lambda: store.is_idle, "the offers")
    late = Cid.of(RAW, b"late")
    store.want([late])
    wait_for(lambda: late in store._busy, "the get")
    kubo.kill()
    wait_for(lambda: state(store) == AWAY, "the failure to be noticed")
    wait_for(lambda: problems.counts == {"TransportError": 1}, "the failure to be counted")
    assert [store.get(cid) for cid in kept] == [b"%d" % number * 1000 for number in range(5)]

    kubo.forget()
    kubo.start()
    wait_for(lambda: set(kubo.pins()) == set(map(str, kept)), "all blocks to be there again")
    kubo.join(daemon)
    daemon.run("block", "put", "-", input=b"late")
    assert fetched(store, late) == b"late"


def test_one_that_hangs_is_skipped_until_it_goes_on(daemon: Kubo, kubo: Kubo, opened: Opened) -> None:
    kubo.start()
    hanging = opened.exchange(kubo, timeout=1, waits={"first": 0.2, "grace": 0.2, "pins": 0.5})
    store = opened.store(ipfs=hanging, gateway=GatewayExchange(daemon.gateway, 60))
    wait_for(lambda: {state(store, 0), state(store, 1)} == {CONNECTED}, "both exchanges")
    kubo.hang()
    for number in range(8):
        data = b"while it hangs %d" % number
        daemon.run("block", "put", "-", input=data)
        assert fetched(store, Cid.of(RAW, data)) == data
    wait_for(lambda: state(store, 0) == AWAY, "the failure")
    mine = store.put(RAW, b"mine")
    kubo.resume()
    wait_for(lambda: str(mine) in kubo.pins(), "what was put while it hung")


def test_closing_does_not_wait_for_a_daemon_that_hangs(kubo: Kubo, opened: Opened) -> None:
    kubo.start()
    exchange = opened.exchange(kubo, timeout=600, waits={"first": 600.0})
    store = opened.store(ipfs=exchange)
    wait_for(lambda: state(store) == CONNECTED, "the daemon")
    store.want([Cid.of(RAW, b"nowhere")])
    wait_for(lambda: store._busy, "the get")
    kubo.hang()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(("link", "fetch"))]
    store.close()
    assert threads
    wait_for(lambda: not any(thread.is_alive() for thread in threads), "their end")


# -- pubsub


def test_pubsub_comes_back_with_its_daemon(daemon: Kubo, kubo: Kubo, opened: Opened) -> None:
    kubo.start()
    kubo.join(daemon)
    here, there = opened.gossip(kubo, "here", repeat=0.2), opened.gossip(daemon, "there", repeat=0.2)
    wait_for(lambda: kubo.run("pubsub", "peers", f"learnae/1/{SWARM}/heads"), "the other's subscription")
    there.announce(SAID)
    here.announce(Announcement())
    wait_for(lambda: list(here.heard()) == [Heard("there", SAID)], "the announcement")
    wait_for(lambda: {here.state(), there.state()} == {"connected"}, "both")
    kubo.kill()
    wait_for(lambda: here.state().startswith("away"), "the failure")
    here.heard()
    kubo.start()
    kubo.join(daemon)
    more = Announcement((some_entry(2),))
    wait_for(lambda: kubo.run("pubsub", "peers", f"learnae/1/{SWARM}/heads"), "the other's subscription")
    here.announce(more)
    wait_for(lambda: list(there.heard()) == [Heard("here", more)], "what was announced since")
    wait_for(lambda: list(here.heard()) == [Heard("there", SAID)], "the announcement, which is repeated")
    assert here.state() == "connected"


def test_hostile_announcements_are_counted_and_good_ones_are_heard(daemon: Kubo, opened: Opened) -> None:
    problems = ErrorLog()
    gossip = opened.gossip(daemon, "listener", errors=problems)
    topic, good = f"learnae/1/{SWARM}/heads", {"peer": "a", **SAID.to_fields()}
    wait_for(lambda: topic in daemon.run("pubsub", "ls").decode(), "the subscription")
    bad = dagcbor.encode({**good, "authors": [1]})
    for data in (b"", b"\xff" * 100, b"x" * 200_000, bad, dagcbor.encode([])):
        daemon.run("pubsub", "pub", topic, input=data)
    heard: list[Any] = []

    def arrived() -> bool:
        daemon.run("pubsub", "pub", topic, input=dagcbor.encode(good))
        heard.extend(gossip.heard())
        return bool(heard)

    wait_for(arrived, "the good one")
    assert heard[0] == Heard("a", SAID)
    assert problems.counts["EncodingError"] >= 3


def test_pubsub_that_is_off_says_how_to_turn_it_on(
    opened: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Kubo(tmp_path / "kubo", pubsub=False) as kubo:
        gossip = opened.gossip(kubo, "alone")
        gossip.announce(SAID)
        wait_for(lambda: gossip.state() == "away: Kubo's pubsub is off", "the failure")
        wait_for(lambda: "ipfs config --json Pubsub.Enabled true" in caplog.text, "the remedy")
        gossip.close()
    assert caplog.text.count("pubsub is off") == 1
