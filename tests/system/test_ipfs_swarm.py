"""Two trainers on two machines that share nothing but IPFS: each has a home and a Kubo daemon of its own."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from hostile_http import hostile_server, says
from kubo import Kubo
from mosquitto import HOST
from programs import Programs, wait_for
from test_canary import patterns

from demo.people import write_private_file
from learnae.adapters.local import LocalBlockStore
from learnae.cid import DAG_CBOR, Cid
from learnae.home import create_swarm
from learnae.limits import Limits
from learnae.manifest import Manifest
from learnae.observer import Observer, estimate_of
from learnae.presets import preset

pytestmark = [pytest.mark.engine("ipfs"), pytest.mark.modules("ipfshttpclient")]


class Machine:
    """A home, a daemon, and one trainer on one person's recordings."""

    def __init__(self, directory: Path, manifest: Manifest, person: int) -> None:
        directory.mkdir()
        self.directory = directory
        self.programs = Programs(directory)
        self.kubo = Kubo(directory / "kubo")
        self.swarm = create_swarm(manifest, self.programs.home / "swarms" / str(manifest.swarm))
        self.name = f"person-{person}"
        self.data = directory / "private.npz"
        write_private_file(person, self.data)
        self.observer = Observer(self.swarm)

    def start(self, connect: str = "", **settings: str) -> None:
        """The trainer; it need not find its daemon."""
        environment = {"LEARNAE_IPFS__API": self.kubo.api, "LEARNAE_IPFS__CONNECT": connect, **settings}
        arguments = ("start", "--data", self.data, "--name", self.name)
        self.process = self.programs.start("trainer_node", *arguments, environment=environment, pause=0.3)

    def end(self) -> str:
        """Let it save and end; returns what it has logged."""
        self.process.send_signal(signal.SIGTERM)
        said: str = self.process.communicate(timeout=30)[1]
        assert self.process.returncode == 0, said
        return said

    def seq_of(self, name: str) -> int:
        """The newest message of a peer that is known here."""
        self.observer.refresh()
        return next((view.seq for view in self.observer.peers() if view.name == name), -1)

    def check_blocks(self) -> None:
        """All blocks of this machine, and no others, are pinned at its daemon, which has the same bytes."""
        store = LocalBlockStore(self.swarm)
        names = set(store.cids())
        assert len(names) > 10
        lacking = {str(cid) for cid in names} - set(self.kubo.pins())
        assert len(lacking) <= 8, "more than what was on its way when the trainer was told to end"
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
        with urlopen(request, timeout=30) as answer:
            return answer.read()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    manifest = preset("wrist", 1)
    both = Machine(tmp_path / "a", manifest, 1), Machine(tmp_path / "b", manifest, 2)
    yield both
    for machine in both:
        machine.programs.__exit__(None, None, None)
        machine.kubo.kill()


def leaks(directory: Path, planted: list[bytes]) -> Iterator[tuple[Path, bytes]]:
    """Files with a planted reading, and what is around it."""
    for path in (path for path in directory.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for pattern in planted:
            if pattern in data:
                yield path, data[max(0, data.index(pattern) - 30) :][:60]


def distance(one: Machine, other: Machine) -> float:
    """Between the two consensus estimates, relative to their size."""
    first, second = (
        estimate_of(machine.programs.home / "peers" / machine.name, machine.observer.manifest)
        for machine in (one, other)
    )
    return float(np.linalg.norm(first - second) / np.linalg.norm(first))


@pytest.mark.slow
def test_two_trainers_converge_over_ipfs_alone_and_ipfs_reads_every_block(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    readings = np.random.default_rng(11).normal(size=(3000, 6)).astype(np.float32)
    np.savez(a.data, signal=readings, label=np.repeat(np.arange(5), 600))
    a.kubo.start()
    with hostile_server(lambda request: says(b"" if "bafkqaaa" in request.path else b"poison")(request)) as liar:
        a.start(connect=b.kubo.address)
        b.start(LEARNAE_IPFS__GATEWAYS=liar.url, LEARNAE_EXCHANGE__ORDER="gateway ipfs")
        b.programs.wait_for_steps(b.name, b.process)
        assert b.status["connections"]["ipfs"] == "away"  # its daemon is not there yet
        b.kubo.start()
        wait_for(lambda: min(a.seq_of(b.name), b.seq_of(a.name)) >= 5, "messages of both at both", 60)
        for machine in machines:
            wait_for(lambda machine=machine: machine.status["following"] == 1, "a replica")
            wait_for(lambda machine=machine: set(machine.links.values()) == {"connected"}, "both links")
        assert b.status["problems"]["EncodingError"] > 0
        assert f"gateway {liar.url} sent wrong bytes" in b.status["last_problems"]["EncodingError"]

    a.kubo.hang()
    b.kubo.kill()
    b.kubo.forget()
    for machine in machines:  # training goes on
        machine.programs.wait_for_steps(machine.name, machine.process, machine.status["steps"] + 200)
    a.kubo.resume()
    b.kubo.start()
    seen = a.seq_of(b.name), b.seq_of(a.name)
    wait_for(lambda: a.seq_of(b.name) > seen[0] and b.seq_of(a.name) > seen[1], "messages of both at both", 60)
    wait_for(lambda: distance(a, b) < 0.1, "equal estimates", 60)  # alone they would be 0.5 apart
    said = b.end()
    a.end()

    assert said.count("ipfs: Kubo") == said.count("ipfs: connected") == 2  # away at the start, and killed
    for machine in machines:
        machine.check_blocks()
    newest = b.observer.tangle.heads()[0]
    assert json.loads(b.kubo.run("dag", "get", str(newest)))["swarm"] == {"/": str(a.observer.swarm)}
    planted = patterns(readings[::250])
    for place in (a.swarm, a.kubo.directory, b.directory):
        assert list(leaks(place, planted)) == []
    assert {path.name for path, _ in leaks(a.directory, planted)} == {"private.npz"}, "the search itself finds them"


@pytest.mark.slow
def test_after_pruning_nothing_else_of_ours_is_pinned(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a", dataclasses.replace(preset("wrist", 1), limits=Limits(horizon=4000)), 1)
    try:
        machine.kubo.start()
        machine.start()
        wait_for(lambda: machine.seq_of(machine.name) > 40, "history", 60)
        store = LocalBlockStore(machine.swarm)
        assert len(set(store.cids())) < machine.seq_of(machine.name), "hardly anything was pruned"
        wait_for(lambda: set(machine.kubo.pins()) <= set(map(str, store.cids())), "no pins but of what is live")
        machine.end()
        machine.check_blocks()
    finally:
        machine.programs.__exit__(None, None, None)
        machine.kubo.kill()
