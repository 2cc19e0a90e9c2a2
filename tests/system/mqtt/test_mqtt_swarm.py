"""A swarm whose members share nothing but a broker, with TLS, client certificates and an ACL: real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Inbox, Links, secure
from programs import PATIENCE, Child, Programs, wait_for

from demo.people import write_private_file
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset

pytestmark = [pytest.mark.slow, pytest.mark.engine("mosquitto")]

# a peer's certificate names its key, and so it writes below its own name only
ACL = """\
user watcher
topic read learnae/1/#
pattern write learnae/1/+/%u/#
pattern read learnae/1/#
"""


class Board:
    """A machine of its own: home, configuration, one agent."""

    def __init__(self, root: Path, person: int, certificates: Certificates, broker: Mosquitto) -> None:
        root.mkdir()
        self.programs = Programs(root)
        self.name = f"board-{person}"
        write_private_file(person, root / "person.npz")
        self.directory = self.programs.home / "swarms" / "shared"
        create_swarm(MANIFEST, self.directory)
        joined = self.programs.answer(
            "learnae", "join", self.directory, "--role", "agent", "--name", self.name, "--data", root / "person.npz"
        )
        self.peer: str = joined["peer"]
        certificates.issue(self.peer)
        section = secure(broker, certificates, self.peer)
        self.environment = {
            "LEARNAE_SOURCE__SPEED": "0",
            "LEARNAE_TRAIN__ENGINE": "numpy",
            "LEARNAE_MQTT__BROKER": section.broker,
            "LEARNAE_MQTT__CA_FILE": section.ca_file,
            "LEARNAE_MQTT__CERT_FILE": section.cert_file,
            "LEARNAE_MQTT__KEY_FILE": section.key_file,
            "LEARNAE_MQTT__KEEP_ALIVE": "2",
        }
        self.config = joined["configuration"]
        self.process: Child | None = None

    def start(self) -> None:
        self.process = self.programs.start(
            "agent", "run", "--config", self.config, environment=self.environment, pause=0.3
        )

    def status(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.poll() is None, self.process.log
        return self.programs.status(self.name)

    def knows(self, *others: Board) -> bool:
        """Whether it follows them all and has their newest weights."""
        said = self.status()
        return said.get("following", 0) >= len(others) and said.get("peers", 0) > len(others)


MANIFEST = preset("wrist", 1_700_000_000_000)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates", ["watcher"])


@pytest.fixture
def broker(tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", certificates, ACL) as running:
        yield running


@pytest.fixture
def boards(tmp_path: Path, certificates: Certificates, broker: Mosquitto) -> Iterator[list[Board]]:
    made = [Board(tmp_path / str(person), person, certificates, broker) for person in (1, 2, 3)]
    yield made
    for board in made:
        board.programs.__exit__(None, None, None)


def test_boards_that_share_only_a_broker_learn_together_through_its_failures(boards, broker, certificates):
    with Links() as links:
        inbox = Inbox(links.open(secure(broker, certificates, "watcher")), "learnae/1/#")
        for board in boards:
            board.start()
        one, two, three = boards
        wait_for(lambda: all(board.knows(*boards[1:]) for board in boards), "all to follow all", 2 * PATIENCE)
        assert {topic.split("/")[3] for topic, _ in inbox.heard} == {board.peer for board in boards}

        broker.kill()
        before = [board.status()["steps"] for board in boards]
        wait_for(lambda: all(b.status()["steps"] > s for b, s in zip(boards, before, strict=True)), "training alone")
        broker.start()
        heard = [board.status()["messages"] for board in boards]
        wait_for(
            lambda: all(b.status()["messages"] > h + 9 for b, h in zip(boards, heard, strict=True)), "all", 2 * PATIENCE
        )

        broker.hang()
        before = [board.status()["steps"] for board in boards]
        wait_for(lambda: all("away" in b.status()["connections"]["mqtt"] for b in boards), "the silence", 2 * PATIENCE)
        wait_for(lambda: all(b.status()["steps"] > s for b, s in zip(boards, before, strict=True)), "training alone")
        broker.resume()
        wait_for(
            lambda: all(b.status()["connections"]["mqtt"] == "connected" for b in boards),
            "all to be back",
            2 * PATIENCE,
        )

        assert two.process is not None
        two.process.kill()
        two.process.wait()
        inbox.wait_for(f"learnae/1/{MANIFEST.swarm}/{two.peer}/status", b"offline", 2 * PATIENCE)
        for path in two.directory.glob("blocks.sqlite*"):  # its disk is lost; key and state are not
            path.unlink()
        two.start()
        wait_for(lambda: two.status().get("following", 0) == 2, "to have caught up", 2 * PATIENCE)
        seen = [board.status()["messages"] for board in (one, three)]
        wait_for(lambda: two.status()["messages"] >= min(seen), "the whole history", 2 * PATIENCE)
        for board in boards:
            assert board.process is not None
            board.process.terminate()
            said = board.process.communicate(timeout=60)[1]
            assert "Traceback" not in said
    assert "denied" not in broker.log.lower()
