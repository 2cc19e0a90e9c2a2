"""Raw readings never leave: every byte that a peer puts out is searched for planted readings.

The peers are archives: what they would forget has left before. They hold nothing out, as a peer that learns nothing
falls silent; nor is more asked of them than what they put out before they know all noise by heart. Public keys are
no secret, nor what is made of them (the piece beside a name, Home Assistant's serial number): no search is for them.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
from builders import tiny_manifest
from canary import leaks, leaks_in, patterns, private_readings
from daemon import HOST, free_port
from iri_node import IriNode
from kubo import Kubo
from lan_rig import LanMember
from messages_here import messages_in, read_by_members, read_in, seqs_in
from mosquitto import Mosquitto
from mqtt_rig import Gate
from nightly import how_many
from programs import PATIENCE, Programs, finish, wait_for
from rated import person, simulate, statements
from sensors import Sysfs, make_swarm
from visitors import Visitor

import learnae
from demo.swarm import Swarm, environment_of
from learnae.adapters.http.member import MemberExchange, make_client
from learnae.adapters.iota.node import Node, Transaction
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.config.sections import MqttSection
from learnae.errors import BlockMissingError
from learnae.ipld.cid import Cid
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.models.dataset import Dataset
from learnae.peer.learning.personal import personal_of
from learnae.peer.masking.summary_source import SummarySource
from learnae.ports import Exchange
from learnae.privacy.policy import MASKED, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.bodies import Summary, Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import MINUTE, Limits
from learnae.protocol.messages import open_message
from learnae.protocol.sum_bodies import MaskedVector, MaskOpen
from learnae.runtime.backup import back_up
from learnae.runtime.observer import Observer
from learnae.runtime.registrar import Registrar
from learnae.samples.dp_statistics import Statistics, layout_of, noise_of
from learnae.simulation.simulator import Setting, Simulation, identity_of
from learnae.swarm.directory import find_swarm, open_manifest, open_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import KEY_FILE


class Canary:
    """A peer with readings that can be found again wherever they get to; a context manager in which it runs."""

    def __init__(
        self,
        home: Path,
        role: str,
        more: str,
        every: int = 600,
        membership: str = "open",
        privacy: str = "",
        flags: Sequence[str] = (),
    ) -> None:
        home.mkdir()
        self.role, self.home, self.swarm = role, home, Swarm.create(home, "--membership", membership, *flags)
        if membership != "open":
            self.let_in(home)
        readings = private_readings(11, 12_000)  # more windows than the floor of rows
        self.planted = patterns(readings[::every])
        self.private, self.config = home / "private.npz", home / "canary.toml"
        np.savez(self.private, signal=readings, label=np.repeat(np.arange(5), 2400))
        self.config.write_text(
            f'[peer]\nname = "canary"\nhistory = "all"\n[swarm]\nid = "{self.swarm.directory}"\n'
            f'[{"source" if role == "agent" else "data"}]\nfile = "{self.private}"\nholdout = 0.0\n'
            f"{'speed = 0' if role == 'agent' else ''}\n[privacy]\nmerge_first = false\n{privacy}{more}"
        )

    def let_in(self, home: Path, name: str = "canary") -> None:
        """Sign an invite, a join and a welcome with the owner's key, as ``learnae join`` does."""
        directory, key = self.swarm.directory, Identity.load_or_create(home / "peers" / name / KEY_FILE)
        with closing(LocalBlockStore(directory)) as store:
            assert Registrar(directory, open_manifest(directory), store).let_in(key, self.role)

    def __enter__(self) -> Canary:
        self.swarm.start("canary", self.role, self.config)
        return self

    def wait_for_seq(self, seq: int) -> None:
        status = self.home / "peers" / "canary" / "status.json"
        said = lambda: (json.loads(status.read_text()).get("seq") or 0) >= seq if status.exists() else False  # noqa: E731
        wait_for(said, f"{seq} messages", 4 * PATIENCE)

    def drain(self) -> None:
        self.swarm.processes["canary"].send_signal(signal.SIGTERM)
        assert self.swarm.processes["canary"].wait(2 * PATIENCE) == 0

    def export(self, *arguments: object) -> None:
        """Write the swarm's model, or this peer's, for others."""
        command = (sys.executable, "-m", "learnae", "export", *arguments)
        done = finish(*command, env={**environment_of(self.home), "COLUMNS": "200"})
        assert done.returncode == 0, done.stderr

    def __exit__(self, *_: object) -> None:
        self.swarm.stop()


def blocks_in(swarm: Path) -> bytes:
    """All blocks, each in one piece: SQLite cuts what is longer than a page; and what a member reads in sealed ones."""
    with closing(LocalBlockStore(swarm, read_only=True)) as store:
        blocks = [store.get(cid) for cid in store.cids()]
    assert len(blocks) > 1
    return b"".join([*blocks, *(plain for _, plain in read_in(swarm))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "engine", "seq", "membership", "privacy"),
    [
        ("agent", "auto", 6, "open", ""),
        ("trainer", "auto", 6, "open", ""),
        ("agent", "none", 1, "open", ""),
        ("agent", "auto", 6, "invite", ""),
        ("agent", "auto", 6, "open", "epsilon = 4.0\n"),
    ],
)
def test_planted_readings_stay_home(
    tmp_path: Path, role: str, engine: str, seq: int, membership: str, privacy: str
) -> None:
    more = f'[train]\nengine = "{engine}"\n[publish]\nevery = 1.0\n'
    with Canary(tmp_path / "home", role, more, membership=membership, privacy=privacy) as canary:
        canary.wait_for_seq(seq)
        canary.drain()
    assert seqs_in(canary.swarm.directory)[: seq + 1] == list(range(seq + 1)), "all that was said is searched"
    observer = Observer(canary.swarm.directory)
    observer.refresh()
    (view,) = observer.peers()
    assert view.summary == (engine == "none")
    assert (view.steps > 0) == (engine != "none")
    assert (view.epsilon is not None) == bool(privacy)
    assert list(leaks(canary.swarm.directory, canary.planted)) == []
    assert list(leaks_in(blocks_in(canary.swarm.directory), canary.planted)) == []
    out = tmp_path / "out"
    out.mkdir()
    back_up([canary.home / "peers" / "canary"], [canary.swarm.directory], out / "backup.tar")
    if engine != "none":
        canary.export(out / "swarm.safetensors")
        canary.export(out / "own.safetensors", "--peer", "canary")
    assert list(leaks(out, canary.planted)) == []
    assert "private.npz" in dict(leaks(canary.home, canary.planted)), "the search itself must be able to find them"


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.parametrize("role", ["agent", "trainer"])
def test_planted_readings_are_in_no_byte_that_goes_to_the_broker(tmp_path: Path, role: str) -> None:
    """Monitor, announcements, pushed blocks, Home Assistant: the whole TCP stream, whatever it means."""
    words = [b"/state", b"/metrics", b"/heads", b"/message", b"/frame", b"/session", b"homeassistant/device"]
    words += [b"/inference"] if role == "agent" else []
    with Mosquitto(tmp_path / "broker") as broker, Gate(broker.port) as gate:
        more = f'[mqtt]\nbroker = "mqtt://127.0.0.1:{gate.port}"\nhome_assistant = true\n'
        with Canary(tmp_path / "home", role, more, every=120) as canary:
            is_all = lambda: all(word in gate.sent for word in words) and gate.sent.count(b"/message") > 5  # noqa: E731
            wait_for(is_all, "all of it", 4 * PATIENCE)
            canary.drain()
        assert list(leaks_in(bytes(gate.sent), canary.planted)) == []
        assert b'"personal"' not in gate.sent, "how good the own model is follows from rows"
        assert "personal" in json.loads((canary.home / "peers" / "canary" / "status.json").read_text())
        assert list(leaks_in(canary.private.read_bytes(), canary.planted)), "the search must be able to find them"


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
def test_what_is_an_anomaly_tells_of_no_reading(programs: Programs, tmp_path: Path) -> None:
    """Scores, and the threshold that comes of held-out readings, on their way to broker, Home Assistant and page."""
    readings = private_readings(13, 5000)
    planted, private = patterns(readings[::10]), tmp_path / "private.npz"
    np.savez(private, signal=readings)
    make_swarm(programs.home)
    with Mosquitto(tmp_path / "broker") as broker, Gate(broker.port) as gate:
        config = tmp_path / "agent.toml"
        config.write_text(
            f'[mqtt]\nbroker = "mqtt://127.0.0.1:{gate.port}"\nhome_assistant = true\n'
            f'[source]\nfile = "{private}"\nspeed = 0\n[dashboard]\nlisten = "127.0.0.1:0"\nmetrics = true\n'
        )
        agent = programs.start("agent", "run", "--config", config)
        wait_for(lambda: b'"anomaly": false' in gate.sent and b"_anomalous" in gate.sent, "a decision")
        visitor = Visitor(programs)
        parts = [visitor.get(path) for path in ("api/state", "api/history?since=0", "metrics")]
        shown = b"".join([*parts, visitor.event()])
        agent.stop()
    assert b'"threshold"' in shown
    assert b"learnae_anomaly_threshold" in shown
    assert list(leaks_in(shown, planted)) == []
    assert programs.status("agent")["inference"]["threshold"] > 0
    assert list(leaks_in(bytes(gate.sent), planted)) == []
    assert list(leaks_in(private.read_bytes(), planted)), "the search must be able to find them"


@pytest.mark.slow
@pytest.mark.engine("ipfs")
@pytest.mark.modules("ipfshttpclient")
def test_planted_readings_are_in_no_byte_that_goes_to_a_daemon(tmp_path: Path) -> None:
    """Announcements over pubsub and all blocks: what the daemon is asked for, and given."""
    calls = [b"/api/v0/pubsub/pub", b"/api/v0/block/put", b"/api/v0/pin"]
    with (
        Kubo(tmp_path / "kubo") as kubo,
        Gate(kubo.api_port) as gate,
        Canary(tmp_path / "home", "trainer", f'[ipfs]\napi = "/ip4/{HOST}/tcp/{gate.port}"\n') as canary,
    ):
        wait_for(lambda: all(gate.sent.count(call) > 2 for call in calls), "all of it", 4 * PATIENCE)
        canary.wait_for_seq(6)
        canary.drain()
    assert list(leaks_in(bytes(gate.sent), canary.planted)) == []
    # the last ones are offered for two seconds at most as the peer ends
    said = [message.data for message in messages_in(canary.swarm.directory)]
    assert any(data in gate.sent for data in said), "blocks go there as they are, so that the search must find them"


@pytest.mark.slow
@pytest.mark.parametrize("role", ["agent", "trainer"])
def test_planted_readings_are_in_no_byte_that_goes_over_http(tmp_path: Path, role: str) -> None:
    """What a peer says to a member that it calls, and brings it: the whole TCP stream; and all that it serves."""
    port, served = free_port(), free_port()
    with Gate(port) as gate:
        more = f'[lan]\npeers = "http://{HOST}:{gate.port}"\nserve = "{HOST}:{served}"\n'
        with Canary(tmp_path / "home", role, more, every=120) as canary:
            swarm = open_swarm(canary.swarm.directory).manifest.swarm
            with closing(LanMember(tmp_path / "other", swarm, port=port)) as member:
                heads = {}
                for count in (1, 3):  # a message and its frame, then again
                    heard = lambda: [h for h in member.gossip.heard() if h.announcement.entries]  # noqa: E731
                    head = wait_for(heard, "an announcement", 4 * PATIENCE)[-1].announcement.entries[0].head
                    heads[head] = message = open_message(patient(member.uploads, head), swarm, Limits())
                    for cid in message.blocks:
                        patient(member.uploads, cid)
                    wait_for(lambda count=count: gate.sent.count(b"POST /learnae/1/") > count, "more of it")
                assert gate.sent.count(b"PUT /ipfs/") >= 2
                served_blocks = [reader_at(served, served_cid) for served_cid in heads]
            canary.drain()
    assert list(leaks_in(bytes(gate.sent) + b"".join(served_blocks), canary.planted)) == []
    assert all(block in gate.sent for block in served_blocks), "blocks are brought as they are"
    assert list(leaks_in(canary.private.read_bytes(), canary.planted)), "the search must be able to find them"


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.skipif(not how_many(0, 1), reason="takes two minutes: make nightly")
@pytest.mark.parametrize("carrier", ["mqtt", "lan"])
def test_planted_readings_are_in_no_byte_of_masked_sums(tmp_path: Path, carrier: str) -> None:
    """The canary and four others on another machine, who sum: all that is in both stores, and goes over the wire."""
    with ExitStack() as stack:
        port = free_port() if carrier == "lan" else stack.enter_context(Mosquitto(tmp_path / "broker")).port
        gate = stack.enter_context(Gate(port))
        near, far = (
            (f'[mqtt]\nbroker = "mqtt://{HOST}:{gate.port}"\n', f'[mqtt]\nbroker = "mqtt://{HOST}:{port}"\n')
            if carrier == "mqtt"
            else (f'[lan]\npeers = "http://{HOST}:{gate.port}"\n', f'[lan]\nserve = "{HOST}:{port}"\n')
        )
        engine = '[train]\nengine = "none"\n'
        canary = Canary(
            tmp_path / "home", "agent", engine + near, every=120, membership="invite", flags=["--summaries", "masked"]
        )
        names, elsewhere = ("ann", "ben", "cho", "dee"), tmp_path / "elsewhere"
        for name in names:
            canary.let_in(elsewhere, name)
        others = Swarm(elsewhere, elsewhere / "swarm")
        shutil.copytree(canary.swarm.directory, others.directory)
        stack.callback(others.stop)
        for name in names:
            text = canary.config.read_text().replace("canary", name).replace(near, far if name == "ann" else "")
            config = elsewhere / f"{name}.toml"
            config.write_text(text.replace(str(canary.swarm.directory), str(others.directory)))
            others.start(name, "agent", config)
        stack.enter_context(canary)
        sums = lambda: json.loads((canary.home / "peers/canary/status.json").read_text())["sums"]["state"]  # noqa: E731
        wait_for(lambda: (canary.home / "peers/canary/status.json").exists() and sums() == "done", "a total", 300)
        canary.drain()
    said = [message for message, _ in read_in(canary.swarm.directory) if isinstance(message.body, MaskedVector)]
    assert len({message.author for message in said}) == 5
    own = Identity.load(canary.home / "peers" / "canary" / KEY_FILE).author
    assert any(message.author == own and message.data in gate.sent for message in said), "it went through the gate"
    assert list(leaks_in(bytes(gate.sent), canary.planted)) == []
    for place in (canary.swarm.directory, others.directory):
        assert list(leaks(place, canary.planted)) == []
        assert list(leaks_in(blocks_in(place), canary.planted)) == []
    assert list(leaks_in(canary.private.read_bytes(), canary.planted)), "the search must be able to find them"


def test_planted_rows_are_in_nothing_that_members_say_to_sum_them() -> None:
    """All blocks of five members in virtual time; each has one row again and again, the worst case."""
    readings = private_readings(14, 5)[:, :2]
    keys = [identity_of(1, index) for index in range(5)]
    policy = MembershipPolicy.of("invite", [Founder(key.author, key.x25519) for key in keys], 1)
    manifest = tiny_manifest(membership=policy, privacy=PrivacyPolicy(summary=SummaryPrivacy(sharing=MASKED)))
    layout = layout_of(manifest)
    assert layout is not None
    sources, deviation = [], noise_of(layout, manifest.privacy, 1).deviation
    for row in readings:
        data = Dataset(manifest.model, manifest.objective)
        data.add(np.repeat(row[None], 200, axis=0), np.zeros((200, 1)))
        sources.append(SummarySource(layout, Statistics.of(layout, data.train, 1000).sums, deviation, 1))
    idle = [Dataset(manifest.model, manifest.objective) for _ in readings]  # updates are searched above
    simulation = Simulation(manifest, idle, Setting(1, period=5000), addends=lambda index: sources[index])
    simulation.run(4 * MINUTE)
    blocks = {cid: block for member in simulation.members for cid, block in member.host.blocks.items()}
    said = list(read_by_members(blocks, manifest, simulation.members[0].peer.replication.seals))
    assert Counter(type(message.body) for message, _ in said) >= Counter({MaskedVector: 5, MaskOpen: 5})
    assert list(leaks_in(b"".join([*blocks.values(), *(plain for _, plain in said)]), patterns(readings))) == []
    assert list(leaks_in(data.train.rows.tobytes(), patterns(readings))), "the search must find them"


def test_planted_rows_are_in_nothing_that_members_say_of_each_others_contributions() -> None:
    """All blocks that were ever stored of seven members in virtual time, among them what they say of each other."""
    simulation = simulate(seconds=20)
    assert len({message.author for message in statements(simulation)}) > 4
    planted = patterns(np.concatenate([person(number).train.rows[::60] for number in range(7)]))
    blocks = b"".join(data for member in simulation.members for data in member.host.blocks.values())
    assert list(leaks_in(blocks, planted)) == []
    assert list(leaks_in(person(3).train.rows.tobytes(), planted)), "the search must be able to find them"


@pytest.mark.parametrize("knows", ["data", "loss", "metrics"])
def test_planted_rows_are_in_nothing_that_a_programs_own_loop_shares(
    knows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks, what members open of sealed ones, the status, the peer's directory: rows are in no file at all."""
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = private_readings(21, 600)
    targets, planted = rows @ np.ones((6, 1), np.float32), patterns(rows[::10])
    line = dense_config(6, (), 1, "linear")
    swarm = (
        learnae.create_swarm("line", model=line, loss="mean_squared_error")
        if knows == "data"
        else learnae.create_swarm("line", parameters={"w": np.zeros((6, 1)), "b": np.zeros(1)})
    )
    settings = {"publish.every": 0.01, "privacy.merge_first": False, "peer.history": "all"}

    def error(weights: list[np.ndarray]) -> np.ndarray:
        return np.asarray(rows @ weights[0] + weights[1] - targets)

    def loss(weights: list[np.ndarray]) -> float:
        return float(np.mean(error(weights) ** 2))

    own = {"data": {"data": (rows, targets)}, "loss": {"loss": loss}, "metrics": {}}[knows]
    start = [np.zeros((6, 1)), np.zeros(1)]
    with learnae.join(swarm, name="canary", settings=settings, like=start, **own) as peer:
        weights = peer.weights()
        for _ in range(1000):  # how many of them go out is the clock's affair
            weights = [
                weights[0] - 0.05 * rows.T @ error(weights) / 600,
                weights[1] - 0.05 * error(weights).mean(axis=0),
            ]
            metrics = {"loss": loss(weights), "rows": 600} if knows == "metrics" else None
            weights, status = peer.share(weights, 420, metrics), peer.status()
            if (status["seq"] or 0) > 4:
                break
    assert status["seq"] > 4
    assert loss(weights) < loss(start)
    assert list(leaks_in(blocks_in(find_swarm(swarm).directory) + json.dumps(status).encode(), planted)) == []
    assert list(leaks(tmp_path, planted)) == []
    assert list(leaks_in(rows.tobytes(), planted)), "the search must be able to find them"


def test_what_leaves_is_the_same_with_a_personal_model_and_without() -> None:
    """All packets and all blocks of three members, one of whom has it the other way round, in virtual time."""
    manifest = tiny_manifest(config=dense_config(2, (), 2, "softmax"), loss="sparse_categorical_crossentropy")
    went = []
    for is_on in (True, False):
        simulation = Simulation(manifest, [signs(manifest, index) for index in range(3)], Setting(1))
        for member in simulation.members:
            peer = member.peer
            own = personal_of(manifest, member._data, peer.ports.store, is_on)
            if own:
                own._seconds = chain([0.0], repeat(15.0)).__next__  # so it is made in the second tick
            peer.options = replace(peer.options, personal=own)
        simulation.run(MINUTE // 3)
        peers = [member.peer for member in simulation.members]
        assert all(peer.steps > 0 and peer.following.replicas for peer in peers)
        assert any(not np.array_equal(peer.own_estimate(), peer.estimate()) for peer in peers) == is_on
        assert [peer.status().get("personal", {}).get("rows") for peer in peers] == [60 if is_on else None] * 3
        went.append((simulation.network.trace.digest(), [member.host.blocks for member in simulation.members]))
    assert went[0] == went[1]


def signs(manifest: Manifest, index: int) -> Dataset:
    """Rows whose class is the sign of the first value; the last member has it the other way round."""
    data, rng = Dataset(manifest.model, manifest.objective), np.random.default_rng(index)
    for size, is_holdout in ((150, False), (60, True)):
        rows = rng.normal(size=(size, 2))
        data.add(rows, ((rows[:, 0] > 0) != (index == 2)).astype(int), is_holdout)
    return data


def patient(exchange: Exchange, cid: Cid) -> bytes:
    """Return the block, asked for until it comes."""
    found = []

    def came() -> bool:
        with suppress(BlockMissingError):
            found.append(exchange.fetch(cid))
        return bool(found)

    wait_for(came, f"block {cid}", 4 * PATIENCE)
    return found[0]


def reader_at(port: int, cid: Cid) -> bytes:
    with closing(MemberExchange(make_client(HOST, port, None, is_encrypted=False), PATIENCE)) as reader:
        return patient(reader, cid)


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.parametrize("engine", ["numpy", "none"])
def test_what_a_live_sensor_measures_stays_on_the_board(programs: Programs, tmp_path: Path, engine: str) -> None:
    """An agent with all that it has: a sensor, labels, a buffer, results, a monitor, gossip and blocks over MQTT.

    With the engine ``none`` it sends summaries. A second sensor says what is no number: errors are shown, too.
    """
    readings = private_readings(12, 120)
    swarm = make_swarm(programs.home, labelled=engine == "numpy")
    planted = patterns(readings)
    heard: list[bytes] = []
    secret = b"0.1234567-secret"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Sysfs(tmp_path / "sys", [f"{value:.9f}" for value in readings.ravel()]) as sysfs,
    ):
        listener = MqttConnection(MqttSection(broker=f"mqtt://{HOST}:{broker.port}"))
        listener.subscribe("#", lambda received: heard.append(received.topic.encode() + b" " + received.payload))
        listener.start()
        bad = Sysfs(tmp_path / "bad")
        (tmp_path / "bad" / "iio:device0" / "in_ax_raw").write_bytes(secret)
        config = tmp_path / "agent.toml"
        config.write_text(
            f'[peer]\nname = "canary"\nhistory = "all"\n[mqtt]\nbroker = "mqtt://{HOST}:{broker.port}"\n'
            f"{sysfs.section('sources.good')}holdout = 0.0\n{bad.section('sources.bad')}"
        )
        environment = {"LEARNAE_TRAIN__ENGINE": engine}
        agent = programs.start("agent", "run", "--config", config, environment=environment, pause=0.05)
        wait_for(lambda: programs.status("canary").get("sources", {}).get("bad", {}).get("failures"), "the bad sensor")
        if engine == "numpy":
            assert programs.run("agent", "label", "busy", "--config", config).returncode == 0
            programs.wait_for_steps("canary", agent, more_than=4 * 60)
            wait_for(lambda: programs.status("canary")["inference"]["count"] > 10, "results")
        else:
            wait_for(lambda: programs.status("canary").get("unlabelled", 0) > 100, "windows")
            wait_for(lambda: programs.status("canary")["seq"], "a summary")
        log = agent.stop()
        listener.close()
    out = tmp_path / "out"
    out.mkdir()
    back_up([programs.home / "peers" / "canary"], [swarm], out / "backup.tar")
    (out / "mqtt").write_bytes(b"\n".join(heard))
    (out / "log").write_text(log)
    state = programs.home / "peers" / "canary"
    for name in ("status.json", "inference.jsonl"):
        if (state / name).exists():
            (out / name).write_bytes((state / name).read_bytes())
    assert len(heard) > 3
    kinds = {type(message.body) for message in messages_in(swarm)}
    assert (Update if engine == "numpy" else Summary) in kinds
    assert list(leaks(swarm, planted)) == []
    assert list(leaks_in(blocks_in(swarm), planted)) == []
    assert list(leaks(out, [*planted, secret, secret[:9]])) == []
    assert "samples.db" in dict(leaks(state, planted)), "the search itself must be able to find them"


@pytest.mark.slow
def test_planted_readings_do_not_get_onto_a_tangle(tmp_path: Path) -> None:
    with IriNode(tmp_path / "tangle") as node:
        with Canary(tmp_path / "home", "agent", f'[iota]\nnode = "{node.url}"\npoll = 0.2\nevery = 0.1\n') as canary:
            wait_for(lambda: len(node.names()) >= 5, "announcements", 4 * PATIENCE)
        client = Node(node.url)
        sent = [transaction.message for transaction in client.read(node.names())]
        tag = "LEARNAE9TEST9OF9CANARIES9AA"
        able = Transaction("", client.propose(canary.planted[0], tag, "A" * 80 + "9")).message
    assert len(sent) >= 5
    assert list(leaks_in(b"".join(sent), canary.planted)) == []
    assert canary.planted[0] in able, "the search itself must be able to find them"
