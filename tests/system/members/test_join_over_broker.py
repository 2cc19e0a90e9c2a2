"""From one machine to another with one line: a real broker that wants a password, programs, and what crosses it."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from daemon import free_port
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain
from programs import Finished, Programs, assert_refused, wait_for
from sealed_swarm import WORDS

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.ipld.cid import Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.records import Join
from learnae.membership.sealing import open_sealed
from learnae.protocol.bodies import Sealed
from learnae.protocol.limits import Limits
from learnae.protocol.messages import open_message
from learnae.runtime.admission.viewing import read_viewer_key
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import open_manifest
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

pytestmark = [pytest.mark.slow, pytest.mark.engine("mosquitto")]

USER, PASSWORD = "plantedfleet", "plantedpassword"
COLUMNS = "plantedflow,plantedheat"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    passwords = tmp_path / "broker" / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, USER, PASSWORD], check=True)
    passwords.chmod(0o700)
    with Mosquitto(tmp_path / "broker", extra=f"allow_anonymous false\npassword_file {passwords}") as running:
        yield running


class Fleet:
    """Machines at one broker; ann's has made the swarm."""

    def __init__(self, root: Path, broker: Mosquitto) -> None:
        self.root, self.broker = root, broker
        self.machines: dict[str, Programs] = {}
        self.password = root / "password"
        self.password.write_text(f"{PASSWORD}\n")
        ann = self.machine("ann")
        (ann.root / "m.json").write_text(json.dumps(dense_config(2, (4,), 2, "softmax")))
        made = ann.answer(
            "learnae", "swarm", "create", "--model", "m.json", "--loss", "sparse_categorical_crossentropy",
            "--columns", COLUMNS, "--classes", "plantedlow,plantedhigh", "--name", "plantedswarm",
            "--membership", "invite",
        )  # fmt: skip
        self.directory = Path(made["directory"])
        ann.answer(
            "learnae", "join", "--name", "plantedann", "--data", self.rows("ann"),
            "--broker", f"mqtt://127.0.0.1:{broker.port}", "--user", USER, "--password-file", self.password,
        )  # fmt: skip

    def machine(self, name: str) -> Programs:
        if name not in self.machines:
            (self.root / name).mkdir()
            self.machines[name] = Programs(self.root / name)
        return self.machines[name]

    def rows(self, name: str) -> Path:
        rng, path = random.Random(name), self.machine(name).root / "rows.csv"
        rows = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(80)]
        lines = [f"{x},{y},{'plantedhigh' if x + y > 0 else 'plantedlow'}" for x, y in rows]
        path.write_text("\n".join([f"{COLUMNS},label", *lines, ""]))
        return path

    def invite(self, *arguments: object) -> dict[str, Any]:
        found: dict[str, Any] = self.machine("ann").answer("learnae", "invite", *arguments)
        return found

    def arguments(self, name: str, code: str, *more: object) -> list[object]:
        login = ["--user", USER, "--password-file", self.password]
        return ["join", code, "--name", f"planted{name}", "--data", self.rows(name), *login, *more]

    def join(self, name: str, code: str, *more: object) -> Finished:
        return self.machine(name).run("learnae", *self.arguments(name, code, *more))

    def start(self, name: str) -> None:
        machine = self.machine(name)
        process = machine.start("trainer_node", "start")
        wait_for(lambda: machine.status(f"planted{name}") or process.poll() is not None, f"{name} to say how it is", 60)
        assert process.poll() is None, process.log

    def wait_for_following(self, name: str, count: int) -> dict[str, Any]:
        machine = self.machine(name)
        return dict(
            wait_for(
                lambda: (said := machine.status(f"planted{name}")).get("following") == count and said,
                f"{name} to follow {count}", 90,
            )
        )  # fmt: skip

    def registrar(self, store: LocalBlockStore) -> Registrar:
        return Registrar(self.directory, open_manifest(self.directory), store)


@pytest.fixture
def fleet(tmp_path: Path, broker: Mosquitto) -> Iterator[Fleet]:
    made = Fleet(tmp_path, broker)
    yield made
    for machine in made.machines.values():
        machine.__exit__()


def test_one_line_makes_a_member_and_the_broker_learns_nothing(fleet: Fleet, links: Links) -> None:
    section = plain(fleet.broker, user=USER, password_file=str(fleet.password))
    inbox = Inbox(links.open(section))
    fleet.start("ann")
    code = fleet.invite()["code"]
    assert len(code) <= 180
    refused = fleet.machine("bob").run("learnae", "join", code, "--name", "plantedbob")
    assert_refused(refused, 78, "it refuses us: Not authorized", "--password-file")
    done = fleet.join("bob", code)
    assert done.returncode == 0, done.stderr
    assert "trains      classification\nmodel       22 parameters" in done.stdout
    assert "readings by none" in done.stdout
    assert not (fleet.machine("bob").home / "peers" / "plantedbob" / "invite-code").exists()
    fleet.start("bob")
    assert fleet.wait_for_following("bob", 1)["problems"] == {}
    assert fleet.wait_for_following("ann", 1)["problems"] == {}
    again = fleet.join("bob", code)  # repeated when all is done: nothing is asked, nothing changes
    assert again.returncode == 0, again.stderr

    key = fleet.root / "viewer.key"
    fleet.machine("bob").answer("learnae", "members", "--viewer-key", key)
    assert key.stat().st_mode & 0o777 == 0o600
    watching = ("watch", "--broker", f"mqtt://127.0.0.1:{fleet.broker.port}", "--user", USER)
    watching += ("--password-file", str(fleet.password), "--rounds", "1")

    def seen(name: str, *more: object) -> set[str]:
        peers = fleet.machine(name).answer("learnae", *watching, *more)
        return {peer["name"] for peer in peers}

    names = {"plantedann", "plantedbob"}
    wait_for(lambda: seen("carol", "--viewer-key", key) == names, "both to be shown to a viewer")
    assert seen("bob") == names, "a member's own key opens it, too"
    assert seen("carol") == {""}

    everything = b"\n".join(received.topic.encode() + b" " + received.payload for received in inbox.received)
    manifest = open_manifest(fleet.directory)
    assert b"planted" not in everything
    assert str(manifest.swarm).encode() not in everything
    assert manifest.to_bytes()[:64] not in everything
    assert not [word for word in WORDS if word in everything]
    _assert_sealed(inbox, read_viewer_key(key), manifest, everything)


def _assert_sealed(inbox: Inbox, view: Any, manifest: Manifest, everything: bytes) -> None:
    """Every message has a sealed body, and what its body and its frame hold is nowhere in the clear."""
    messages = {heard.payload for heard in inbox.received if heard.topic.endswith("/message")}
    frames = {Cid.of(0x55, heard.payload): heard.payload for heard in inbox.received if heard.topic.endswith("/frame")}
    opened = [manifest.to_bytes()]
    for data in messages:
        message = open_message(data, manifest.swarm, Limits())
        assert isinstance(message.body, Sealed)
        parts = [
            (0, message.body.data),
            *((1 + i, frames[cid]) for i, cid in enumerate(message.blocks) if cid in frames),
        ]
        for index, sealed in parts:
            inner = bytes(open_sealed(view, message.author, message.seq, index, sealed))
            assert inner[:24] not in everything
            opened.append(inner)
    assert len(opened) > 4
    assert all(word in b"".join(opened) for word in WORDS), "the search itself must be able to find them"


def test_a_code_that_is_good_no_more_is_refused_in_one_line_and_gives_nothing(fleet: Fleet) -> None:
    fleet.start("ann")
    with closing(LocalBlockStore(fleet.directory)) as store:
        registrar = fleet.registrar(store)
        _, seed = registrar.invite(registrar.member_here(), 1, SystemClock().now() - 1)
        registrar.announce()
    address = f"mqtt://127.0.0.1:{fleet.broker.port}"
    expired = InviteCode(open_manifest(fleet.directory).swarm, seed, (address,)).to_text()
    used, taken_back = fleet.invite(), fleet.invite()
    assert fleet.join("bob", used["code"]).returncode == 0
    fleet.machine("ann").answer("learnae", "uninvite", taken_back["invite"][-8:])
    wrong = used["code"][:40] + ("7" if used["code"][40] != "7" else "8") + used["code"][41:]
    for code, words in (
        (expired, ("the invite has expired", "learnae invite")),
        (used["code"], ("used up", "learnae invite")),
        (taken_back["code"], ("was taken back", "learnae invite")),
        (wrong, ("character 41", "fits there")),
    ):
        assert_refused(fleet.join("carol", code), 78, *words)
        carol = fleet.machine("carol")
        assert not list(carol.home.glob("swarms/*/manifest.cbor"))
        assert not (carol.config / "learnae" / "trainer.toml").exists()
        assert not list(carol.home.glob("peers/*/invite-code"))


def test_where_no_member_is_online_the_peer_goes_on_asking_by_itself(fleet: Fleet) -> None:
    code = fleet.invite()["code"]
    done = fleet.join("bob", code, "--wait", 3)
    assert done.returncode == 0, done.stderr
    assert "no member of the swarm is online; once it is started, it goes on asking" in done.stdout
    fleet.start("bob")
    assert "a member" in fleet.machine("bob").status("plantedbob")["membership"]
    fleet.start("ann")
    fleet.wait_for_following("bob", 1)
    fleet.wait_for_following("ann", 1)


def test_a_join_that_is_killed_anywhere_goes_on_when_it_is_repeated(fleet: Fleet) -> None:
    fleet.start("ann")
    code = fleet.invite()["code"]
    bob = fleet.machine("bob")
    for tenth in range(6, 30, 3):  # from before the first question to after the last answer
        process = bob.start("learnae", *fleet.arguments("bob", code))
        time.sleep(tenth / 10)
        process.kill()
        process.wait()
    done = fleet.join("bob", code)
    assert done.returncode == 0, done.stderr
    with closing(LocalBlockStore(fleet.directory)) as store:
        ledger = fleet.registrar(store).ledger
    assert sum(1 for cid in ledger.cids() if (found := ledger.get(cid)) and isinstance(found.body, Join)) == 2
    fleet.start("bob")
    fleet.wait_for_following("bob", 1)


def test_a_code_with_the_address_of_a_member_that_serves_needs_no_broker(fleet: Fleet) -> None:
    port = free_port()
    config = fleet.machine("ann").config / "learnae" / "trainer.toml"
    config.write_text(config.read_text().partition("\n[mqtt]")[0] + f'\n[lan]\nserve = "127.0.0.1:{port}"\n')
    fleet.start("ann")
    invited = fleet.invite("--address", f"http://127.0.0.1:{port}")
    arguments = ["join", invited["code"], "--name", "plantedbob", "--data", fleet.rows("bob")]
    done = fleet.machine("bob").run("learnae", *arguments)
    assert done.returncode == 0, done.stderr
    fleet.start("bob")
    fleet.wait_for_following("bob", 1)
    fleet.wait_for_following("ann", 1)
    late = fleet.machine("carol").run("learnae", "join", invited["code"], "--name", "plantedcarol")
    assert_refused(late, 78, "used up")
