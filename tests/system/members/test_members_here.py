"""A swarm that is not open, on one machine: real programs create, join, revoke and leave."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from programs import Child, Programs, assert_refused, wait_for

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.config.sections import LanSection, MqttSection
from learnae.dashboard.writes import invites_of
from learnae.errors import ConfigurationError
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.codes.invite_code import parse
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Join, Profile
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import compose
from learnae.swarm.directory import open_manifest, open_swarm
from learnae.swarm.presets import dense_config

pytestmark = pytest.mark.slow

HEADER = "a,b,label\n"


class Machine:
    """One user's machine, with a swarm that it has made and trainers that have joined it."""

    def __init__(self, programs: Programs, *arguments: object) -> None:
        self.programs = programs
        (programs.root / "m.json").write_text(json.dumps(dense_config(2, (4,), 2, "softmax")))
        made = self.learnae(
            "swarm", "create", "--model", "m.json", "--loss", "sparse_categorical_crossentropy",
            "--columns", "a,b", *arguments,
        )  # fmt: skip
        self.directory = Path(made["directory"])
        self.swarm: str = made["swarm"]
        self.running: dict[str, Child] = {}

    def learnae(self, *arguments: object) -> Any:
        return self.programs.answer("learnae", *arguments)

    def join(self, name: str) -> dict[str, Any]:
        rng = random.Random(name)
        rows = [f"{x},{y},{int(x + y > 0)}\n" for x, y in ((rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(80))]
        (self.programs.root / f"{name}.csv").write_text(HEADER + "".join(rows))
        joined: dict[str, Any] = self.learnae(
            "join", "--name", name, "--config", f"{name}.toml", "--data", f"{name}.csv"
        )
        return joined

    def start(self, name: str) -> None:
        self.running[name] = self.programs.start("trainer_node", "start", "--config", f"{name}.toml")

    def status(self, name: str) -> dict[str, Any]:
        assert self.running[name].poll() is None, self.running[name].log
        return self.programs.status(name)

    def wait_for_following(self, name: str, count: int) -> dict[str, Any]:
        found: dict[str, Any] = wait_for(
            lambda: (said := self.status(name)).get("following") == count and said, f"{name} to follow {count}", 90
        )
        return found

    def members(self) -> dict[str, Any]:
        found: dict[str, Any] = self.learnae("members")
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Programs(tmp_path) as programs:
        yield Machine(programs, "--membership", "invite")


def test_who_joins_where_the_swarm_was_made_is_in_and_one_is_removed(machine: Machine) -> None:
    names = ["ann", "bob", "cat"]
    joined = {name: machine.join(name) for name in names}
    assert {each["standing"] for each in joined.values()} == {"member"}
    for name in names:
        machine.start(name)
    for name in names:
        machine.wait_for_following(name, 2)
    # a stranger, whose program keeps to no rule, puts what it says where all look
    stranger, manifest = Identity.generate(), open_manifest(machine.directory)
    body = Join(Profile("mallory", "trainer", "1")).to_fields()
    message = compose(stranger, manifest.swarm, 0, (), machine.status("ann")["time"], body)
    with closing(LocalBlockStore(machine.directory)) as store:
        store.put(DAG_CBOR, message.data)
        head = Entry(stranger.author[:PREFIX_BYTES], 0, message.cid, None)
        LocalGossip(machine.directory, peer_name(stranger.author)).announce(Announcement((head,)))
        member = Identity.load(machine.programs.home / "peers" / "ann" / "key.pem").author
        disguised = Entry(member[:PREFIX_BYTES], 2**40, message.cid, None)
        LocalGossip(machine.directory, "disguised").announce(Announcement((disguised,)))
    wait_for(lambda: machine.status("bob")["problems"].get("StrangerError"), "a refusal", 60)
    assert {view["name"] for view in machine.learnae("peers")} == set(names)
    # one is removed: the others go on, and it says nothing more
    done = machine.learnae("revoke", "cat")
    assert (done["votes"], done["needed"], done["done"]) == (1, 1, True)
    for name in ("ann", "bob"):
        machine.wait_for_following(name, 1)
    wait_for(lambda: machine.status("cat")["membership"] == "removed", "cat to hear it", 60)
    silent, steps = machine.status("cat")["seq"], machine.status("ann")["steps"]
    wait_for(lambda: machine.status("ann")["steps"] > steps, "ann to go on", 60)
    assert machine.status("cat")["seq"] == silent
    found = machine.members()
    assert [each["shown"] for each in found["removed"]] == ["cat"]
    assert {view["name"] for view in machine.learnae("peers")} == {"ann", "bob"}
    # and one leaves by itself
    machine.learnae("leave", "bob", "--yes")
    machine.wait_for_following("ann", 0)
    assert {each["peer"] for each in machine.members()["removed"]} == {joined[name]["peer"] for name in ("bob", "cat")}


def test_who_made_a_swarm_and_what_it_is_told(machine: Machine) -> None:
    key = machine.directory / "owner.key"
    assert key.stat().st_mode & 0o777 == 0o600
    owner = Identity.load(key)
    found = machine.members()
    assert (found["membership"], found["votes"]) == ("invite", 1)
    assert [(each["peer"], each["founder"], each["here"]) for each in found["member"]] == [
        (peer_name(owner.author), True, True)
    ]
    invited = machine.learnae("invite", "--uses", "2", "--expires", "7d", "--role", "agent")
    assert invited["code"].startswith("LRN1")
    assert invited["addresses"] == []
    (listed,) = machine.members()["invites"]
    assert (listed["left"], listed["role"], listed["invite"]) == (2, "agent", invited["invite"])
    assert machine.learnae("uninvite", invited["invite"][-8:])["taken_back"] == [invited["invite"]]
    assert machine.members()["invites"] == []
    said = machine.programs.run("learnae", "members").stdout
    assert "owner" in said
    assert "names no place where members are met" in machine.programs.run("learnae", "invite").stderr


def test_the_page_invites_as_the_command_does(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(machine.programs.home))
    invites = invites_of(open_swarm(machine.directory), MqttSection(broker="mqtt://broker.example"), LanSection())
    made = invites["/api/invite"]({"uses": 2, "hours": 1, "role": "agent"})
    assert parse(made["code"]).addresses == ("mqtt://broker.example",)
    (listed,) = machine.members()["invites"]
    assert (listed["left"], listed["role"], listed["invite"][-8:]) == (2, "agent", made["invite"])
    assert {len(row) for row in made["picture"]} == {len(made["picture"])}
    for wrong in ({"uses": 0}, {"uses": True}, {"uses": 10**9}, {"hours": "1"}, {"hours": 10**9}, {"role": "king"}):
        with pytest.raises(ConfigurationError, match="use"):
            invites["/api/invite"](wrong)
    assert len(machine.members()["invites"]) == 1


def test_without_the_owners_key_a_peer_waits(machine: Machine, tmp_path: Path) -> None:
    with Programs(tmp_path / "elsewhere") as programs:
        programs.root.mkdir()
        (programs.root / "d.csv").write_text(HEADER + "1,2,0\n2,1,1\n" * 20)
        copied = programs.root / "manifest.cbor"
        copied.write_bytes((machine.directory / "manifest.cbor").read_bytes())
        joined = programs.answer("learnae", "join", copied, "--name", "dan", "--data", "d.csv", "--config", "d.toml")
        assert joined["standing"] == "waiting for a welcome: a member must say learnae invite"
        process = programs.start("trainer_node", "start", "--config", "d.toml")
        said = wait_for(lambda: programs.status("dan"), "a status", 60)
        assert (said["membership"], said["seq"]) == ("waiting for a welcome", None)
        assert process.poll() is None
        assert_refused(programs.run("learnae", "invite"), 78, "no key on this machine is a member's")


def test_a_backup_brings_the_owners_key_back(machine: Machine, tmp_path: Path) -> None:
    machine.join("ann")
    before, file = machine.members(), tmp_path / "all.tar"
    machine.learnae("backup", file)
    with Programs(tmp_path / "elsewhere") as programs:
        programs.root.mkdir()
        forged = programs.root / "forged.tar"
        with tarfile.open(file) as old, tarfile.open(forged, "w", format=tarfile.PAX_FORMAT) as new:
            for entry in old:
                key = "peers/ann/key.pem" if entry.name.endswith("owner.key") else entry.name
                content = old.extractfile(key)
                assert content is not None
                entry.size = old.getmember(key).size
                new.addfile(entry, content)
        assert_refused(programs.run("learnae", "restore", forged), 75, "is not the key of who made that swarm")
        assert not list(programs.home.glob("swarms/*/owner.key"))
        programs.answer("learnae", "restore", file)
        assert [each["peer"] for each in programs.answer("learnae", "members")["member"]] == [
            each["peer"] for each in before["member"]
        ]
        (key,) = programs.home.glob("swarms/*/owner.key")
        assert key.stat().st_mode & 0o777 == 0o600
        assert programs.answer("learnae", "join", "--name", "bob", "--config", "b.toml")["standing"] == "member"


def test_a_peer_that_was_let_in_as_a_trainer_is_no_agent(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        programs.answer("learnae", "swarm", "create", "--preset", "thermal")
        joined = programs.answer("learnae", "join", "--name", "ann", "--config", "ann.toml")
        assert joined["standing"] == "member"
        other = ("--name", "ann", "--role", "agent", "--config", "agent.toml")
        assert_refused(programs.run("learnae", "join", *other), 78, "was let in as trainer", "--name")
        (programs.root / "rows.csv").write_text("time,temperature\n0,20\n")
        text = (programs.root / "ann.toml").read_text().partition("[data]")[0]
        (programs.root / "agent.toml").write_text(f'{text}[source]\nfile = "rows.csv"\n')
        run = programs.run("agent", "run", "--config", "agent.toml")
        assert (run.returncode, "'ann' was let in for another role than agent; " in run.stderr) == (78, True)


@pytest.mark.parametrize("kind", ["open", "vouched"])
def test_other_ways_in(tmp_path: Path, kind: str) -> None:
    with Programs(tmp_path) as programs:
        machine = Machine(programs, "--membership", kind)
        said = programs.run("learnae", "join", "--name", "ann").stdout
        if kind == "open":
            assert "open: everyone who reaches the swarm reads what is said, and has a full vote" in said
            assert_refused(programs.run("learnae", "members"), 78, "is open")
        else:
            assert "vouched: in by 1 vote of members, out by 1 vote of members" in said
            assert len(machine.members()["member"]) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--membership", "open", "--votes", "2"), 78, "swarm.votes of an open swarm"),
        (("--membership", "vouched", "--votes", "2"), 78, "2 votes admit a member, and 1 founder can vote"),
        (("--membership", "invite", "--votes", "65"), 78, "65 votes remove a member"),
        (("--membership", "closed"), 2, "invalid choice"),
    ],
)
def test_what_is_not_certain_makes_no_swarm(
    tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    with Programs(tmp_path) as programs:
        done = programs.run("learnae", "swarm", "create", "--preset", "wrist", *arguments)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr
        assert not list(programs.home.glob("swarms/*"))
