"""Machines that know a swarm's id alone come in by votes of its members: over a real broker, and over HTTP."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from builders import tiny_manifest
from daemon import free_port
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain
from programs import Child, Programs, assert_refused, wait_for

from demo.people import write_private_file
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.policy import VOUCHED, Founder, MembershipPolicy
from learnae.protocol.identity import Identity
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import create_swarm
from learnae.system.paths import KEY_FILE

pytestmark = pytest.mark.slow


class Site:
    """Ann and ben have founded a swarm into which both must vote others; carol's machine knows its id."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machines = {name: Programs(root / name) for name in ("ann", "ben", "carol")}
        for machine in self.machines.values():
            machine.root.mkdir()
        self.keys = {name: Identity.generate() for name in ("ann", "ben")}
        policy = MembershipPolicy.of(VOUCHED, [Founder(key.author, key.x25519) for key in self.keys.values()], 2)
        self.manifest = tiny_manifest(membership=policy, name="plantedswarm", columns=("plantedflow", "plantedheat"))
        self.id = str(self.manifest.swarm)

    def found(self, *links: str) -> None:
        """Give both founders what one of them has made."""
        desk = create_swarm(self.manifest, self.root / "desk").directory
        with closing(LocalBlockStore(desk)) as store:
            registrar = Registrar(desk, self.manifest, store)
            registrar.found(self.keys["ann"])
            records = [record.data for record in registrar.ledger.records()]
        for name, key in self.keys.items():
            machine = self.machines[name]
            directory = machine.home / "peers" / name
            directory.mkdir(mode=0o700, parents=True)
            key.save(directory / KEY_FILE)
            here = create_swarm(self.manifest, machine.home / "swarms" / self.id).directory
            with closing(LocalBlockStore(here)) as store:
                for record in records:
                    store.put(DAG_CBOR, record)
            joined = machine.answer("learnae", "join", self.id, "--name", name, "--data", self.rows(name), *links)
            assert joined["standing"] == "member"

    def link(self, name: str, line: str) -> None:
        config = self.machines[name].config / "learnae" / "trainer.toml"
        config.write_text(f"{config.read_text()}\n[lan]\nbeacon = false\n{line}\n")

    def rows(self, name: str) -> Path:
        rng, path = random.Random(name), self.root / f"{name}.csv"
        rows = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(80)]
        lines = [f"{x},{y},{x - 2 * y}" for x, y in rows]
        path.write_text("\n".join(["plantedflow,plantedheat,label", *lines, ""]))
        return path

    def start(self, name: str, *more: str) -> Child:
        machine = self.machines[name]
        process = machine.start("trainer_node", "start", *more)
        wait_for(lambda: machine.status(name) or process.poll() is not None, f"{name} to say how it is", 60)
        assert process.poll() is None, process.log
        return process

    def ask(self, *where: str) -> Child:
        """Let carol's machine ask, and wait until members are heard."""
        carol = self.machines["carol"]
        arguments = ["join", self.id, "--name", "carol", "--data", self.rows("carol"), "--wait", "120", *where]
        return carol.start("learnae", *map(str, arguments))

    def waiting(self, name: str) -> list[str]:
        return [each["peer"] for each in self.machines[name].answer("learnae", "members")["waiting"]]

    def let_in(self, asking: Child) -> None:
        """Vote on both machines, as people do who were told the begin of carol's key."""
        (peer,) = wait_for(lambda: self.waiting("ann"), "ann to hear of carol")
        first = self.machines["ann"].answer("learnae", "admit", peer[:8])
        assert (first["votes"], first["needed"], first["done"]) == (1, 2, False)
        assert asking.poll() is None, asking.log
        wait_for(lambda: self.waiting("ben"), "ben to hear of carol")
        self.machines["ben"].answer("learnae", "admit", peer[:8])
        assert asking.wait(120) == 0, asking.log

    def wait_for_following(self, name: str, count: int) -> None:
        machine = self.machines[name]
        wait_for(lambda: machine.status(name).get("following") == count, f"{name} to follow {count}", 90)
        assert machine.status(name)["problems"] == {}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for machine in made.machines.values():
        machine.__exit__()


@pytest.mark.engine("mosquitto")
def test_over_a_broker(site: Site, links: Links, broker: Mosquitto) -> None:
    inbox, where = Inbox(links.open(plain(broker))), f"mqtt://127.0.0.1:{broker.port}"
    site.found("--broker", where)
    site.start("ann")
    site.start("ben")
    asking = site.ask("--broker", where)
    site.let_in(asking)
    site.start("carol")
    site.wait_for_following("carol", 2)
    site.wait_for_following("ann", 2)
    everything = b"\n".join(received.topic.encode() + b" " + received.payload for received in inbox.received)
    assert b"planted" not in everything
    assert site.id.encode() not in everything


def test_over_http(site: Site) -> None:
    port = free_port()
    where = f"http://127.0.0.1:{port}"
    site.found()
    site.link("ann", f'serve = "127.0.0.1:{port}"\nper_address = 24')  # the others have one address here
    site.link("ben", f'peers = "{where}"')
    site.start("ann")
    site.start("ben")
    asking = site.ask("--member", where)
    site.let_in(asking)
    site.start("carol")
    site.wait_for_following("carol", 2)


def test_an_id_needs_an_address(tmp_path: Path, site: Site) -> None:
    carol = site.machines["carol"]
    assert_refused(carol.run("learnae", "join", site.id), 78, "not known on this machine", "--broker or --member")
    site.found()
    ann = site.machines["ann"]
    assert_refused(ann.run("learnae", "invite"), 78, f"learnae join {site.id} --broker URL")
    refused = ann.run("learnae", "join", site.id, "--name", "other", "--member", "http://127.0.0.1:1")
    assert_refused(refused, 78, "--member is for a machine without a member")


def test_two_found_a_swarm_by_commands(site: Site) -> None:
    ann, ben = (site.machines[name] for name in ("ann", "ben"))
    founders = [machine.answer("learnae", "key", "--name", name) for name, machine in (("ann", ann), ("ben", ben))]
    assert founders[0] == ann.answer("learnae", "key", "--name", "ann"), "repeated, it is the same key"
    flags = [word for each in founders for word in ("--founder", each["founder"])]
    create = ("swarm", "create", "--preset", "wrist", "--membership", "vouched")
    wrong = ann.run("learnae", *create, "--founder", founders[0]["founder"][:-1])
    assert_refused(wrong, 78, "103 characters", "learnae key")
    assert_refused(ann.run("learnae", *create[:-1], "open", *flags), 78, "swarm.founders of an open swarm")
    made = ann.answer("learnae", *create, "--votes", "3", *flags)
    write_private_file(1, ann.root / "rows.npz")
    assert ann.answer("learnae", "join", "--name", "ann", "--data", "rows.npz")["standing"] == "member"
    found = ann.answer("learnae", "members")
    assert {each["peer"] for each in found["member"]} >= {each["peer"] for each in founders}
    assert (found["votes"], found["swarm"]) == (3, made["swarm"])
    port = free_port()
    site.link("ann", f'serve = "127.0.0.1:{port}"')
    site.start("ann")
    asked = ben.answer("learnae", "join", made["swarm"], "--name", "ben", "--member", f"http://127.0.0.1:{port}")
    assert asked["member"] is True, "a founder is in without a vote"
