"""A swarm and its first peer in one line: all of it, or a refusal that leaves nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs, assert_refused

from demo.people import write_private_file

CREATE = ("learnae", "swarm", "create", "--preset", "wrist")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with Programs(tmp_path) as found:
        write_private_file(1, tmp_path / "a.npz")
        yield found


def test_one_line_makes_a_swarm_by_invite_and_a_member_that_serves(programs: Programs) -> None:
    done = programs.run(*CREATE, "--data", "a.npz", "--lan")
    assert done.returncode == 0, done.stderr
    assert "standing       member" in done.stdout
    assert "next:" not in done.stdout
    config = tomllib.loads((programs.config / "learnae" / "trainer.toml").read_text())
    assert config["lan"] == {"serve": "auto"}
    assert config["data"] == {"file": str(programs.root / "a.npz")}
    members = programs.answer("learnae", "members")
    assert members["membership"] == "invite"
    assert [each["founder"] for each in members["member"]] == [True, False]


def test_the_line_may_name_a_broker(programs: Programs) -> None:
    done = programs.run(*CREATE, "--data", "a.npz", "--broker", "mqtts://broker.local", "--user", "ann")
    assert done.returncode == 0, done.stderr
    config = tomllib.loads((programs.config / "learnae" / "trainer.toml").read_text())
    assert config["mqtt"] == {"broker": "mqtts://broker.local", "user": "ann"}


def test_what_is_said_of_the_membership_goes_first(programs: Programs) -> None:
    done = programs.run(*CREATE, "--data", "a.npz", "--lan", "--membership", "open")
    assert done.returncode == 0, done.stderr
    assert_refused(programs.run("learnae", "invite", "--spoken"), 78, "is open", "--membership invite")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--lan",), 78, ("a peer of this machine", "--data FILE")),
        (("--broker", "mqtt://broker.local"), 78, ("a peer of this machine", "--data FILE")),
        (("--data", "a.npz", "--broker", "http://broker.local"), 78, ("mqtt.broker",)),
        (("--start",), 78, ("a peer of this machine", "--data FILE")),
        (("--data", "a.npz", "--json"), 78, ("--json", "learnae join --json")),
        (("--data", "missing.npz"), 78, ("missing.npz",)),
        (("--data", "noise.csv"), 78, ("noise.csv",)),
    ],
)
def test_a_refusal_leaves_no_swarm(
    programs: Programs, arguments: tuple[str, ...], status: int, words: tuple[str, ...]
) -> None:
    (programs.root / "noise.csv").write_bytes(b"")
    assert_refused(programs.run(*CREATE, *arguments), status, *words)
    assert not list(programs.home.glob("swarms/*"))


def test_another_peers_configuration_is_kept(programs: Programs) -> None:
    config = programs.config / "learnae" / "trainer.toml"
    config.parent.mkdir(parents=True)
    config.write_text("theirs")
    assert_refused(programs.run(*CREATE, "--data", "a.npz", "--lan"), 78, f"{config} exists")
    assert config.read_text() == "theirs"
    assert not list(programs.home.glob("swarms/*"))
