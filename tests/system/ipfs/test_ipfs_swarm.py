"""Machines that share nothing but IPFS and a broker: two trainers with a Kubo daemon each, an agent with MQTT only."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from canary import leaks, patterns, private_readings
from daemon import HOST
from hostile_http import hostile_server, says
from kubo import Kubo
from mosquitto import Mosquitto
from programs import PATIENCE, Programs, wait_for

from demo.people import write_private_file
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.limits import Limits
from learnae.runtime.observer import Observer, estimate_of
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.merge import MEAN, MergePolicy

pytestmark = [pytest.mark.engine("ipfs"), pytest.mark.modules("ipfshttpclient")]


class Machine:
    """A home, one person's recordings, one peer, and for a trainer a daemon; a context manager that ends both."""

    def __init__(self, directory: Path, manifest: Manifest, person: int) -> None:
        directory.mkdir()
        self.directory = directory
        self.programs = Programs(directory)
        self.kubo = Kubo(directory / "kubo")
        self.swarm = self.programs.add_swarm(manifest)
        self.name = f"person-{person}"
        self.data = directory / "private.npz"
        write_private_file(person, self.data)
        self.observer = Observer(self.swarm)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.programs.__exit__()
        self.kubo.kill()

    def start_trainer(self, pause: float = 0.3, **settings: str) -> None:
        """It need not find its daemon."""
        arguments = ("start", "--data", self.data, "--name", self.name)
        environment = {"LEARNAE_IPFS__API": self.kubo.api, **settings}
        self.process = self.programs.start("trainer_node", *arguments, environment=environment, pause=pause)

    def start_agent(self, **settings: str) -> None:
        """It has no daemon."""
        own = {"PEER__NAME": self.name, "SOURCE__FILE": str(self.data), "SOURCE__SPEED": "0"}
        environment = {**{f"LEARNAE_{key}": value for key, value in own.items()}, **settings}
        self.process = self.programs.start("agent", "run", environment=environment, pause=0.3)

    def wait_for_link(self, state: str) -> None:
        """Until the trainer's link to its daemon is in this state."""
        wait_for(lambda: self.status["connections"]["ipfs"].startswith(state), f"the link to be {state}")

    def wait_for_pins(self) -> None:
        """Until all that is here now is pinned, or gone again; more may have come meanwhile."""
        store = LocalBlockStore(self.swarm)
        here = set(map(str, store.cids()))
        wait_for(lambda: here & set(map(str, store.cids())) <= set(self.kubo.pins()), "what is here to be pinned")

    def seqs(self) -> dict[str, int]:
        """The newest message of each peer that is known here; by its key, if what says its name is too old."""
        self.observer.refresh()
        return {view.name: view.seq for view in self.observer.peers()}

    def check_blocks(self) -> None:
        """All blocks of this machine, and no others, are pinned at its daemon, which has the same bytes."""
        store = LocalBlockStore(self.swarm)
        names = set(store.cids())
        assert names
        lacking = {str(cid) for cid in names} - set(self.kubo.pins())
        environment = {"LEARNAE_IPFS__API": self.kubo.api}
        done = self.programs.run("learnae", "blocks", "--pin", "--json", environment=environment)
        assert json.loads(done.stdout) == {"pinned now": len(lacking), "pinned in all": len(names)}
        assert set(self.kubo.pins()) == set(map(str, names))
        for cid in names:
            assert self.rpc("block/get", cid) == store.get(cid)
            if cid.codec == DAG_CBOR:
                assert self.rpc("dag/get", cid, **{"output-codec": "dag-cbor"}) == store.get(cid)

    @property
    def links(self) -> dict[str, str]:
        """How the links to IPFS are."""
        return {name: state for name, state in self.status["connections"].items() if name.startswith("ipfs")}

    @property
    def status(self) -> dict:
        """What the trainer says of itself."""
        return self.programs.status(self.name)

    def rpc(self, command: str, cid: Cid, **options: str) -> bytes:
        """What ``ipfs COMMAND CID`` answers: the program is the same call, and slower to start."""
        query = "&".join([f"arg={cid}", "offline=true", *(f"{key}={value}" for key, value in options.items())])
        request = Request(f"http://{HOST}:{self.kubo.api_port}/api/v0/{command}?{query}", method="POST")
        with urlopen(request, timeout=60) as answer:
            return answer.read()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    manifest = dataclasses.replace(preset("wrist", 1), merge=MergePolicy(rule=MEAN))  # none is muted for a while
    with ExitStack() as ends:
        yield tuple(ends.enter_context(Machine(tmp_path / name, manifest, n)) for n, name in enumerate("abc", 1))


def distance(one: Machine, other: Machine) -> float:
    """Between the two consensus estimates, relative to their size."""
    first, second = (
        estimate_of(machine.programs.home / "peers" / machine.name, machine.observer.manifest).vector
        for machine in (one, other)
    )
    return float(np.linalg.norm(first - second) / np.linalg.norm(first))


def assert_all_hear_all(machines: Sequence[Machine], newer_than: int = 4) -> None:
    """Everybody has at least so many messages of everybody, and more than when this was called."""
    for one, seen in [(one, one.seqs()) for one in machines]:
        for name in [other.name for other in machines]:
            known = max(newer_than, seen.get(name, -1))
            news = lambda o=one, n=name, k=known: o.seqs().get(n, -1) > k  # noqa: E731
            wait_for(news, f"news of {name} at {one.name}", 2 * PATIENCE)


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
def test_two_trainers_on_ipfs_and_an_agent_on_mqtt_converge_whatever_fails(
    machines: tuple[Machine, Machine, Machine], tmp_path: Path
) -> None:
    a, b, c = machines
    readings = private_readings(11, 3000) / np.float32(
        8
    )  # features of about one: weights that fit them are no trap to others
    np.savez(a.data, signal=readings, label=np.repeat(np.arange(5), 600))
    a.kubo.start()
    poison = says(b"poison")
    with (
        Mosquitto(tmp_path / "broker") as broker,
        hostile_server(lambda request: (says(b"") if "bafkqaaa" in request.path else poison)(request)) as liar,
    ):
        link = f"mqtt://{HOST}:{broker.port}"
        a.start_trainer(LEARNAE_IPFS__CONNECT=b.kubo.address, LEARNAE_MQTT__BROKER=link)
        b.start_trainer(LEARNAE_IPFS__GATEWAYS=liar.url, LEARNAE_EXCHANGE__ORDER="gateway ipfs")
        c.start_agent(LEARNAE_MQTT__BROKER=link)
        b.programs.wait_for_steps(b.name, b.process)
        b.wait_for_link("away: Kubo at")  # its daemon is not there yet
        b.kubo.start()
        assert_all_hear_all(machines)
        for machine in machines:
            wait_for(lambda machine=machine: machine.status["following"] == 2, "two replicas")
            wait_for(lambda machine=machine: set(machine.links.values()) <= {"connected"}, "all links")
        wrong = f"gateway {liar.url} sent wrong bytes"
        wait_for(lambda: wrong in b.status["last_problems"].get("EncodingError", ""), "the liar to be asked")

        a.kubo.hang()
        b.kubo.kill()
        b.kubo.forget()
        for machine in machines:  # training goes on
            machine.programs.wait_for_steps(machine.name, machine.process, machine.status["steps"] + 200)
        b.wait_for_link("away: Kubo at")
        a.kubo.resume()
        b.kubo.start()
        assert_all_hear_all(machines)
        for one, other in ((a, b), (b, c)):
            # alone they were 0.5 apart
            wait_for(lambda o=one, p=other: distance(o, p) < 0.1, "equal estimates", 2 * PATIENCE)
        for machine in (a, b):
            machine.wait_for_pins()
        said = [machine.process.stop() for machine in machines][1]  # what is on its way to a daemon may be lost

    ways = [up or down for down, up in re.findall("ipfs: (?:(Kubo)|(connected))", said)]
    assert ways == ["Kubo", "connected"] * (len(ways) // 2)  # each of them said once
    assert len(ways) >= 4  # away at the start, and killed
    for machine in (a, b):
        machine.check_blocks()
    newest = next(entry.head for _, entry in b.observer.tangle.entries())
    assert json.loads(b.kubo.run("dag", "get", str(newest)))["swarm"] == {"/": str(a.observer.swarm)}
    planted = patterns(readings[::250])
    for place in (a.swarm, a.kubo.directory, b.directory, c.directory):
        assert list(leaks(place, planted)) == []
    assert set(dict(leaks(a.directory, planted))) == {"private.npz"}, "the search itself finds them"


@pytest.mark.slow
def test_a_trainer_is_heard_far_away_through_the_daemon_of_its_neighbour(tmp_path: Path) -> None:
    manifest = preset("wrist", 1)
    with Machine(tmp_path / "a", manifest, 1) as a, Machine(tmp_path / "b", manifest, 2) as b:
        a.kubo.start()
        b.kubo.start()
        a.start_trainer()
        b.start_trainer(LEARNAE_IPFS__CONNECT=a.kubo.address)
        write_private_file(3, tmp_path / "neighbour.npz")
        arguments = ("start", "--data", tmp_path / "neighbour.npz", "--name", "neighbour")
        a.programs.start("trainer_node", *arguments, pause=0.3)
        wait_for(lambda: b.seqs().get("neighbour", -1) > 4, "news of the neighbour at b", 2 * PATIENCE)
        a.observer.refresh()
        for _, entry in a.observer.tangle.entries():  # the neighbour's, too
            assert json.loads(b.kubo.run("dag", "get", str(entry.head)))["swarm"] == {"/": str(b.observer.swarm)}


@pytest.mark.slow
def test_after_pruning_nothing_else_of_ours_is_pinned(tmp_path: Path) -> None:
    limits, merge = Limits(horizon=1500, skew=300), MergePolicy(half_life=150)
    manifest = dataclasses.replace(preset("wrist", 1), limits=limits, merge=merge)
    with Machine(tmp_path / "a", manifest, 1) as machine:
        machine.kubo.start()
        machine.start_trainer(pause=0.1)
        wait_for(lambda: max(machine.seqs().values(), default=0) > 50, "history", 2 * PATIENCE)
        store = LocalBlockStore(machine.swarm)
        wait_for(lambda: len(set(store.cids())) < max(machine.seqs().values(), default=0), "most to be pruned")
        wait_for(lambda: set(machine.kubo.pins()) <= set(map(str, store.cids())), "no pins but of what is live")
        machine.wait_for_pins()
        machine.process.stop()
        machine.check_blocks()
