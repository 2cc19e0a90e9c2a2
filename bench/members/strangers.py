"""What strangers cost a member: one refused message, and a flood of them at a broker."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np

from bench.harness import AT_MOST, Race, seconds_of
from bench.rigs.processes import broker
from learnae.adapters.mqtt.blocks.exchange import MqttExchange
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.config.sections import MqttSection
from learnae.errors import StrangerError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.gate import Gate
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.models.passive_learner import PassiveLearner
from learnae.peer.peer import Options
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import compose
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.links.mqtt import connect_mqtt
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.system.paths import KEY_FILE

_MEMBERS = 64
_BODY_BYTES = 300  # of a sealed update without its frame
_MOST_MICROSECONDS = 10.0
_STRANGERS = 50
_RATE = 500  # messages a second
_MOST_SHARE = 5.0  # % of a core, of which the client library's part is most
_LISTEN_SECONDS = 0.25  # as a running peer does


def run(race: Race) -> None:
    """Time one refusal, then measure the processor time of a member with and without a flood."""
    with race.step("refusing a message"):
        seconds = refusal_seconds(20 if race.quick else 2000)
        note = f"{_MEMBERS} members, median; before decoder, signature and disk"
        race.figure("strangers' messages that can be refused", 1 / seconds, "a second")
        race.check("a stranger's message is refused after", seconds * 1e6, _MOST_MICROSECONDS, AT_MOST, "µs", note)
    wait = 2.0 if race.quick else 20.0
    with race.step(f"{_RATE} messages a second for {wait:.0f} s"), tempfile.TemporaryDirectory() as name:
        quiet, loud, refused, stored = flood(Path(name), wait)
        race.figure("processor time of a member, of one core, quiet", 100 * quiet, "%")
        note = f"{refused:,} refused, {stored} of them stored; MQTT's client library is in it"
        more = 100 * (loud - quiet)
        race.check(f"more with {_RATE} strangers' messages a second", more, _MOST_SHARE, AT_MOST, "%", note)
        race.check("strangers' messages that were stored", stored, 0, AT_MOST)


def owned(owner: Identity, others: int = 0) -> Manifest:
    """Return the definition of a swarm that ``owner`` has founded, with ``others``."""
    keys = [owner, *(Identity.generate() for _ in range(others))]
    policy = MembershipPolicy.of("invite", [Founder(key.author, key.x25519) for key in keys])
    return replace(preset("wrist", time.time_ns() // 1_000_000), membership=policy)


def refusal_seconds(repeats: int) -> float:
    """Return how long it takes to refuse the message of one who is no member."""
    manifest = owned(Identity.generate(), _MEMBERS - 1)
    assert manifest.membership is not None
    gate, message = Gate(Ledger(manifest.membership, manifest.swarm)), said(manifest, Identity.generate())

    def refuse() -> None:
        try:
            gate.check(message)
        except StrangerError:
            return
        raise AssertionError("it was let in")

    return median(seconds_of(refuse) for _ in range(repeats))


def said(manifest: Manifest, author: Identity) -> bytes:
    """Return a first message of ``author``, valid but for its membership; its body is noise."""
    body = np.random.default_rng(1).bytes(_BODY_BYTES)
    return compose(author, manifest.swarm, 0, (), time.time_ns() // 1_000_000, body).data


def flood(home: Path, wait: float) -> tuple[float, float, int, int]:
    """Return the share of a core that a member needs, quiet and flooded; messages refused, and stored."""
    owner = Identity.load_or_create(home / "peer" / KEY_FILE)
    manifest = owned(owner)
    with broker(home / "broker") as mosquitto:
        section = MqttSection(broker=f"mqtt://127.0.0.1:{mosquitto.port}", monitor="off")
        workspace = Workspace(create_swarm(manifest, home / "swarm"), home / "peer")
        links = connect_mqtt(section, workspace)
        linked = build_peer(workspace, PassiveLearner(manifest.model.count), Options("ann", "trainer", 8), links)
        exchange = cast(MqttExchange, links.exchanges["mqtt"])
        try:
            listen(linked.peer.tick, wait / 2)
            quiet = listen(linked.peer.tick, wait)
            strangers = {key.author: said(manifest, key) for key in (Identity.generate() for _ in range(_STRANGERS))}
            pushed = [(exchange.topics.of(peer_name(key), "message"), data) for key, data in strangers.items()]
            context = multiprocessing.get_context("spawn")
            ready = context.Event()
            flooder = context.Process(target=pour, args=(section, pushed, ready), daemon=True)
            flooder.start()
            if not ready.wait(60):
                raise AssertionError("the flood does not begin")
            before = exchange.counts["refused of strangers"]
            loud = listen(linked.peer.tick, wait)
            refused = exchange.counts["refused of strangers"] - before
            flooder.kill()
            stored = sum(workspace.store.has(Cid.of(DAG_CBOR, data)) for data in strangers.values())
            if refused < _RATE * wait / 4:
                raise AssertionError(f"only {refused} messages came in {wait:.0f} s")
        finally:
            linked.leave()
    return quiet, loud, refused, stored


def listen(tick: Callable[[], object], wait: float) -> float:
    """Let a peer tick for so many seconds; return the share of a core that this process has used."""
    begun, used = time.monotonic(), time.process_time()
    while time.monotonic() - begun < wait:
        tick()
        time.sleep(_LISTEN_SECONDS)
    return (time.process_time() - used) / (time.monotonic() - begun)


def pour(section: MqttSection, pushed: list[tuple[str, bytes]], ready: Event) -> None:
    """Publish these messages over and over, as many a second as the race asks for, until this process is ended."""
    connection = MqttConnection(section, "strangers")
    connection.start()
    begun, count = time.monotonic(), 0
    while True:
        topic, data = pushed[count % len(pushed)]
        if connection.publish(topic, data, qos=0):
            count += 1
            ready.set()
        time.sleep(max(0.0, begun + count / _RATE - time.monotonic()))
