"""The adapters that every contract suite runs over. A new adapter adds one function to each list."""

from __future__ import annotations

import dataclasses
import inspect
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from block_rows import spoil
from builders import identity
from kubo import Kubo
from lan_rig import LanMember, new_swarm, told
from mosquitto import Mosquitto
from mqtt_rig import Links, plain
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.composite.exchange_link import CONNECTED
from learnae.adapters.composite.gossip import Gossips as CompositeGossip
from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.adapters.local import gossip as local_gossip
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.adapters.mqtt.topics import Topics
from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.ports import BlockStore, Exchange, Gossip, Heard, StateStore
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import author_of_name, peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.neighbourhood.interest import Interest
from learnae.simulation.in_memory import MemoryBlockStore, MemoryExchange, MemoryGossip, MemoryStateStore
from learnae.simulation.network import Network, VirtualClock, Weather

if TYPE_CHECKING:
    from tangles import HornetTangle, LoopbackTangle, Tangle

    from learnae.adapters.ipfs.exchange import KuboExchange
    from learnae.adapters.mqtt.blocks.exchange import MqttExchange
    from learnae.adapters.mqtt.connection import MqttConnection

SWARM = Cid.of(DAG_CBOR, b"swarm")
LATE_SECONDS = 60.0  # an engine that is late does not hang: the machine of a test may stand still for seconds


def nothing_to_wait_for() -> None:
    """A directory delivers at once."""


@dataclass(frozen=True)
class Stores:
    """Two machines' stores; ``deliver`` lets pending transfers happen, ``spoil`` is a bad disk or a bad sender."""

    one: BlockStore
    other: BlockStore
    deliver: Callable[[], None]
    spoil: Callable[[Cid, bytes], None]


@dataclass(frozen=True)
class Exchanges:
    """What ``one`` offers, ``other`` fetches."""

    one: Exchange
    other: Exchange


@dataclass(frozen=True)
class Gossips:
    """Several peers' gossip, and what the others call them; ``deliver`` lets what was announced arrive."""

    all: Sequence[Gossip]
    names: Sequence[str]
    deliver: Callable[[], None]


def local_stores(directory: Path) -> Stores:
    return Stores(
        LocalBlockStore(directory), LocalBlockStore(directory), nothing_to_wait_for, partial(spoil, directory)
    )


def memory_stores(_: Path) -> Stores:
    network = calm_network()
    one, other = network.host(), network.host()
    stores = MemoryBlockStore(one), MemoryBlockStore(other)
    return Stores(*stores, lambda: pass_time(network), lambda cid, data: one.receive({cid: data}))


def exchanged_stores(directory: Path) -> Iterator[Stores]:
    """Two machines whose stores meet in one exchange."""
    warehouse: dict[Cid, bytes] = {}
    for stores in two_machines(directory, lambda _: MemoryExchange(warehouse), lambda _: MemoryExchange(warehouse)):

        def spoil(cid: Cid, data: bytes, disk: Callable[[Cid, bytes], None] = stores.spoil) -> None:
            """A bad disk here, and a bad sender there."""
            disk(cid, data)
            warehouse[cid] = data

        yield dataclasses.replace(stores, spoil=spoil)


def memory_exchanges(_: Path) -> Iterator[Exchanges]:
    warehouse: dict[Cid, bytes] = {}
    yield Exchanges(MemoryExchange(warehouse), MemoryExchange(warehouse))


@pytest.fixture(scope="session")
def kubos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kubo, Kubo]]:
    """Two daemons that know each other."""
    directory = tmp_path_factory.mktemp("kubos")
    with Kubo(directory / "one") as one, Kubo(directory / "other") as other:
        one.join(other)
        yield one, other


def kubo_exchange(kubo: Kubo, directory: Path) -> KuboExchange:
    from learnae.adapters.ipfs.exchange import Acquaintances, KuboExchange, KuboWaits, pin_name
    from learnae.adapters.ipfs.rpc import KuboRpc

    rpc, waits = KuboRpc(kubo.api), KuboWaits(grace=LATE_SECONDS)
    return KuboExchange(rpc, pin_name(SWARM, directory), 60, Acquaintances(rpc, [], 1), waits)


def gateway_exchange(kubo: Kubo) -> GatewayExchange:
    return GatewayExchange(kubo.gateway, 60, probe_seconds=LATE_SECONDS)


def kubo_exchanges(directory: Path, kubos: tuple[Kubo, Kubo]) -> Iterator[Exchanges]:
    yield from closed_later(*(kubo_exchange(kubo, directory / kubo.directory.name) for kubo in kubos))


def gateway_exchanges(directory: Path, kubos: tuple[Kubo, Kubo]) -> Iterator[Exchanges]:
    """What is offered to one daemon can be read at the other's gateway."""
    yield from closed_later(kubo_exchange(kubos[0], directory), gateway_exchange(kubos[1]))


def closed_later(one: Exchange, other: Exchange) -> Iterator[Exchanges]:
    with closing(one), closing(other):
        yield Exchanges(one, other)


def kubo_stores(directory: Path, kubos: tuple[Kubo, Kubo]) -> Iterator[Stores]:
    """Two machines, each with a daemon."""
    one, other = (kubo_exchange(kubo, directory / kubo.directory.name) for kubo in kubos)
    yield from two_machines(directory, lambda _: one, lambda _: other)


def gateway_stores(directory: Path, kubos: tuple[Kubo, Kubo]) -> Iterator[Stores]:
    """A machine without a daemon, and one with."""
    one, other = gateway_exchange(kubos[0]), kubo_exchange(kubos[1], directory)
    yield from two_machines(directory, lambda _: one, lambda _: other)


def two_machines(directory: Path, *open_exchanges: Callable[[BlockService], Exchange]) -> Iterator[Stores]:
    stores = [BlockService(LocalBlockStore(directory / str(number))) for number in range(2)]
    joined = [store.join({"x": opened(store)}) for store, opened in zip(stores, open_exchanges, strict=True)]
    wait_for(lambda: all(links["x"].state == CONNECTED for links in joined), "both exchanges")
    idle = lambda: all(store.is_idle for store in stores)  # noqa: E731
    yield Stores(*stores, lambda: wait_for(idle, "the stores to be idle"), local_stores(directory / "0").spoil)
    for store in stores:
        store.close()


def kubo_gossips(_: Path, kubos: tuple[Kubo, Kubo]) -> Iterator[Gossips]:
    """Three peers at two daemons, in a swarm of their own."""
    from learnae.adapters.ipfs.exchange import Acquaintances
    from learnae.adapters.ipfs.pubsub import KuboGossip
    from learnae.adapters.ipfs.rpc import KuboRpc

    swarm = Cid.of(RAW, os.urandom(8))
    gossips = {}
    for number in range(3):
        rpc = KuboRpc(kubos[number % 2].api)
        name = f"peer-{number}"
        gossips[name] = KuboGossip(rpc, str(swarm), name, 60, Acquaintances(rpc, [], 1), repeat=30.0, silence=90.0)
    for kubo in kubos:
        wait_for(lambda kubo=kubo: kubo.run("pubsub", "peers", f"learnae/1/{swarm}/heads"), "the other's subscription")
    delivered: dict[str, Any] = {}

    def deliver() -> None:
        for name, speaker in gossips.items():
            if speaker._own is not None and delivered.get(name) != speaker._own:
                delivered[name] = speaker._own
                others = [listener for other, listener in gossips.items() if other != name]
                said = Heard(name, speaker._own)
                arrived = lambda s=said, o=others: all(each._heard.get(s.announcer) == s for each in o)  # noqa: E731
                wait_for(arrived, f"what {name} has announced")

    for listener in gossips.values():
        listener.announce(Announcement())
        deliver()
    for listener in gossips.values():
        listener.heard()
    yield Gossips(list(gossips.values()), list(gossips), deliver)
    for listener in gossips.values():
        listener.close()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def links(broker: Mosquitto) -> Iterator[Callable[[], MqttConnection]]:
    """Opens connections to one broker."""
    with Links() as opened:
        yield lambda: opened.open(plain(broker))


class Together:
    """Lets everything arrive that was published by some connections: a broker keeps the order of each of them."""

    def __init__(self, links: Sequence[MqttConnection]) -> None:
        self._links = links
        self._heard: list[set[bytes]] = [set() for _ in links]
        self._topic = f"together/{os.urandom(8).hex()}"
        for link, heard in zip(links, self._heard, strict=True):
            link.subscribe(self._topic, lambda received, heard=heard: heard.add(received.payload))

    def __call__(self) -> None:
        tokens = {os.urandom(8) for _ in self._links}

        def arrived() -> bool:
            for link, token in zip(self._links, tokens, strict=True):
                link.publish(self._topic, token)  # again: at first, others may still be subscribing
            return all(heard >= tokens for heard in self._heard)

        wait_for(arrived, "what was published")


def mqtt_gossips(_: Path, links: Callable[[], MqttConnection]) -> Iterator[Gossips]:
    from learnae.adapters.mqtt.frontier import Frontier
    from learnae.adapters.mqtt.gossip import MqttGossip

    swarm, opened = Cid.of(RAW, os.urandom(8)), {f"peer-{number}": links() for number in range(3)}
    gossips = [
        MqttGossip(link, Topics("t", str(swarm), name), 0.0, ErrorLog(), Frontier()) for name, link in opened.items()
    ]
    deliver = Together(list(opened.values()))
    deliver()
    yield Gossips(gossips, list(opened), deliver)


class Shelf:
    """An exchange and the store that it answers from: what is offered is there already, as in a peer."""

    def __init__(self, exchange: Exchange, store: LocalBlockStore) -> None:
        self._exchange, self._store = exchange, store
        self.fetch, self.keep, self.lacking = exchange.fetch, exchange.keep, exchange.lacking
        self.retract, self.close = exchange.retract, exchange.close

    def offer(self, cid: Cid, data: bytes) -> None:
        self._store.put(cid.codec, data)
        self._exchange.offer(cid, data)


def mqtt_exchange(link: MqttConnection, swarm: Cid, name: str, store: BlockService) -> MqttExchange:
    from learnae.adapters.mqtt.blocks.exchange import MqttExchange, Tuning

    hurried = Tuning(grace=(0.0, 0.05), ask=0.4)  # nobody pushes in these tests, and the broker is near
    return MqttExchange(link, Topics("t", str(swarm), name), swarm, store, Limits(), tuning=hurried)


def mqtt_exchanges(directory: Path, links: Callable[[], MqttConnection]) -> Iterator[Exchanges]:
    swarm, shelves = Cid.of(RAW, os.urandom(8)), []
    for name in ("one", "other"):
        store = LocalBlockStore(directory / name)
        shelves.append(Shelf(mqtt_exchange(links(), swarm, name, BlockService(store)), store))
    yield from closed_later(*shelves)


def mqtt_stores(directory: Path, links: Callable[[], MqttConnection]) -> Iterator[Stores]:
    swarm = Cid.of(RAW, os.urandom(8))
    one, other = (lambda store, name=name: mqtt_exchange(links(), swarm, name, store) for name in "ab")
    yield from two_machines(directory, one, other)


def http_exchanges(directory: Path) -> Iterator[Exchanges]:
    """What one has, the other reads at its server."""
    swarm = new_swarm()
    one, other = (LanMember(directory / name, swarm) for name in ("one", "other"))
    with closing(one), closing(other):
        shelf = Shelf(one.reader_of(other), one.store.local)
        yield from closed_later(shelf, other.reader_of(one))


def http_uploads(directory: Path) -> Iterator[Exchanges]:
    """What one has, which serves nothing, it brings to the other."""
    swarm = new_swarm()
    one, other = LanMember(directory / "one", swarm, serves=False), LanMember(directory / "other", swarm)
    with closing(one), closing(other):
        one.link_to(other)
        wait_for(lambda: other.uploads._called > 0, "the first call")
        yield from closed_later(Shelf(one.reader_of(other), one.store.local), other.uploads)


def http_stores(directory: Path) -> Iterator[Stores]:
    """Two machines, one of which serves; it is brought what it lacks."""
    swarm = new_swarm()
    members: list[LanMember] = []

    def serving(store: BlockService) -> Exchange:
        members.append(LanMember(directory / "serving", swarm, store=store))
        return members[0].uploads

    def calling(store: BlockService) -> Exchange:
        members.append(LanMember(directory / "calling", swarm, serves=False, store=store))
        members[1].link_to(members[0])
        wait_for(lambda: members[0].uploads._called > 0, "the first call")
        return members[1].reader_of(members[0])

    yield from two_machines(directory, serving, calling)
    for member in members:
        member.close()


def http_gossips(directory: Path) -> Iterator[Gossips]:
    """Three peers: one serves all, one that and the third, the third nobody."""
    swarm = new_swarm()
    first, second, third = members = [LanMember(directory / str(number), swarm) for number in range(3)]
    for caller, server in ((second, first), (third, first), (third, second)):
        caller.link_to(server)
    deliver = lambda: wait_for(lambda: told(members), "what was announced")  # noqa: E731
    deliver()
    for member in members:
        list(member.gossip.heard())
    yield Gossips([member.gossip for member in members], [peer_name(member.own.by) for member in members], deliver)
    for member in members:
        member.close()


def local_gossips(directory: Path) -> Gossips:
    names = [f"peer-{index}" for index in range(3)]
    return Gossips([LocalGossip(directory, name) for name in names], names, nothing_to_wait_for)


def composite_gossips(directory: Path) -> Gossips:
    """Three peers that hear each other in two ways."""
    one, other = (local_gossips(directory / way) for way in ("one", "other"))
    both = [CompositeGossip({"one": a, "other": b}) for a, b in zip(one.all, other.all, strict=True)]
    return Gossips(both, one.names, nothing_to_wait_for)


def iota_gossips(_: Path, loopback: LoopbackTangle) -> Gossips:
    """Three peers at one loopback node."""
    return gossips_over(loopback)


def hornet_gossips(_: Path, hornets: HornetTangle) -> Gossips:
    """Three peers at one real node."""
    return gossips_over(hornets)


def gossips_over(tangle: Tangle) -> Gossips:
    """Nothing in its own thread, so that it is known when all is there; a swarm of its own."""
    from tangles import gossip, turn_all

    from learnae.adapters.iota.gossip import Pace

    swarm = Cid.of(DAG_CBOR, os.urandom(8))
    all_three = [gossip(tangle.url, swarm, pace=Pace(1, 0)) for _ in range(3)]
    return Gossips(all_three, [peer_name(one.identity.author) for one in all_three], lambda: turn_all(all_three))


def memory_gossips(_: Path) -> Gossips:
    network = calm_network()
    hosts = [network.host() for _ in range(3)]
    gossips = [MemoryGossip(host, fanout=4) for host in hosts]
    return Gossips(gossips, [str(host.index) for host in hosts], lambda: pass_time(network))


def local_state(directory: Path) -> Callable[[], StateStore]:
    return lambda: LocalStateStore(directory / "state")


def memory_state(_: Path) -> Callable[[], StateStore]:
    store = MemoryStateStore()
    return lambda: store


def calm_network() -> Network:
    return Network(VirtualClock(0), random.Random(1), Weather())


def pass_time(network: Network) -> None:
    network.run_until(network.clock.time + 5000)


NEEDS_BROKER = (pytest.mark.engine("mosquitto"), pytest.mark.modules("paho"))
NEEDS_KUBO = (pytest.mark.engine("ipfs"), pytest.mark.modules("ipfshttpclient"))


@pytest.fixture(
    params=[
        pytest.param(local_stores, id="local"),
        pytest.param(memory_stores, id="memory"),
        pytest.param(exchanged_stores, id="exchanged"),
        pytest.param(http_stores, id="http"),
        pytest.param(mqtt_stores, id="mqtt", marks=NEEDS_BROKER),
        pytest.param(kubo_stores, id="kubo", marks=NEEDS_KUBO),
        pytest.param(gateway_stores, id="gateway", marks=NEEDS_KUBO),
    ]
)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    yield from made(request, tmp_path)


@pytest.fixture(
    params=[
        pytest.param(memory_exchanges, id="memory"),
        pytest.param(http_exchanges, id="http"),
        pytest.param(http_uploads, id="http uploads"),
        pytest.param(mqtt_exchanges, id="mqtt", marks=NEEDS_BROKER),
        pytest.param(kubo_exchanges, id="kubo", marks=NEEDS_KUBO),
        pytest.param(gateway_exchanges, id="gateway", marks=NEEDS_KUBO),
    ]
)
def exchanges(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchanges]:
    yield from made(request, tmp_path)


def made(request: pytest.FixtureRequest, directory: Path) -> Iterator[Any]:
    """What an adapter's function gives, or yields and ends afterwards; other fixtures that it names are given to it."""
    _, *fixtures = inspect.signature(request.param).parameters
    found = request.param(directory, *map(request.getfixturevalue, fixtures))
    yield from found if isinstance(found, Iterator) else [found]


@pytest.fixture(
    params=[
        pytest.param(local_gossips, id="local"),
        pytest.param(memory_gossips, id="memory"),
        pytest.param(composite_gossips, id="composite"),
        pytest.param(http_gossips, id="http"),
        pytest.param(mqtt_gossips, id="mqtt", marks=NEEDS_BROKER),
        pytest.param(kubo_gossips, id="kubo pubsub", marks=NEEDS_KUBO),
        pytest.param(iota_gossips, id="iota"),
        pytest.param(hornet_gossips, id="iota over hornet", marks=pytest.mark.engine("hornet")),
    ]
)
def gossips(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gossips]:
    yield from made(request, tmp_path)


@pytest.fixture(params=[local_state, memory_state], ids=["local", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], StateStore]:
    """Gives the same state to a new process."""
    return request.param(tmp_path)


KEYS = [peer_name(identity(number).author) for number in range(8)]


def zoned_local_gossips(directory: Path) -> Iterator[Gossips]:
    yield Gossips([LocalGossip(directory, name) for name in KEYS], KEYS, nothing_to_wait_for)


def zoned_composite_gossips(directory: Path) -> Iterator[Gossips]:
    ways = [[LocalGossip(directory / way, name) for name in KEYS] for way in ("one", "other")]
    both: list[Gossip] = [CompositeGossip({"one": a, "other": b}) for a, b in zip(*ways, strict=True)]
    yield Gossips(both, KEYS, nothing_to_wait_for)


def zoned_memory_gossips(_: Path) -> Iterator[Gossips]:
    network = calm_network()
    hosts = [network.host() for _ in KEYS]
    gossips = [MemoryGossip(host, fanout=len(KEYS)) for host in hosts]
    for gossip, name in zip(gossips, KEYS, strict=True):
        gossip.attend(Interest.of(SWARM.to_bytes(), author_of_name(name)))
    yield Gossips(gossips, KEYS, lambda: pass_time(network))


def zoned_mqtt_gossips(_: Path, links: Callable[[], MqttConnection]) -> Iterator[Gossips]:
    from learnae.adapters.mqtt.frontier import Frontier
    from learnae.adapters.mqtt.gossip import MqttGossip

    opened, gossips = [links() for _ in KEYS], []
    meeting = f"zones of {id(opened)}"
    for link, name in zip(opened, KEYS, strict=True):
        gossips.append(MqttGossip(link, Topics("t", meeting, name), 0.0, ErrorLog(), Frontier()))
    deliver = Together(opened)
    deliver()
    yield Gossips(gossips, KEYS, deliver)


WAYS = [
    pytest.param(zoned_local_gossips, id="local"),
    pytest.param(zoned_composite_gossips, id="composite"),
    pytest.param(zoned_memory_gossips, id="memory"),
    pytest.param(zoned_mqtt_gossips, id="mqtt", marks=NEEDS_BROKER),
]


@pytest.fixture(params=WAYS)
def zoned_gossips(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gossips]:
    monkeypatch.setattr(local_gossip, "_FEW", 4)
    links = [request.getfixturevalue("links")] if request.param is zoned_mqtt_gossips else []
    with closing(request.param(tmp_path, *links)) as made:
        yield next(made)
