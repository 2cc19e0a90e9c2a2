"""Two machines that share a wire and nothing else, no broker and no daemon; one of them lets no connection in."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daemon import HOST, free_port
from messages_here import messages_in, seqs_in
from namespaces import FIRST, can_make_networks, two_machines
from programs import PATIENCE, Child, Programs, wait_for

from demo.people import write_private_file
from learnae.adapters.http.certificate import key_of
from learnae.protocol.bodies import NAME_BYTES, Update
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset
from learnae.weights.merge import MEAN, MergePolicy

pytestmark = pytest.mark.slow

# all are merged from the first on: who judges mutes people that differ, for a minute or so
MANIFEST = replace(preset("wrist", 1_700_000_000_000), merge=MergePolicy(rule=MEAN))


class Board:
    """A machine of its own: home, configuration, one agent."""

    def __init__(self, root: Path, person: int, within: Sequence[str]) -> None:
        root.mkdir()
        self.programs, self.within = Programs(root), within
        self.name = f"board-{person}"
        write_private_file(person, root / "person.npz")
        self.directory = self.programs.home / "swarms" / "shared"
        create_swarm(MANIFEST, self.directory)
        joined = self.programs.answer(
            "learnae", "join", self.directory, "--role", "agent", "--name", self.name, "--data", root / "person.npz"
        )
        self.peer: str = joined["peer"]
        self.config = joined["configuration"]
        self.process: Child | None = None

    def start(self, **lan: str) -> None:
        environment = {f"LEARNAE_LAN__{key.upper()}": value for key, value in lan.items()}
        self.process = self.programs.start(
            "agent",
            "run",
            "--config",
            self.config,
            environment={"LEARNAE_SOURCE__SPEED": "0", **environment},
            pause=0.3,
            within=self.within,
        )

    def status(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.poll() is None, self.process.log
        said = self.programs.status(self.name)
        return said if said.get("time", 0) > self.process.started else {}

    def has_merged(self, other: Board) -> bool:
        """Whether it has learned from the other's weights, as its own updates say."""
        said = list(messages_in(self.directory))
        others = {message.cid.digest[:NAME_BYTES] for message in said if message.author == key_of(other.peer)}
        bodies = [message.body for message in said if message.author == key_of(self.peer)]
        return any(isinstance(body, Update) and others & set(body.merged) for body in bodies)

    def newest_of(self, other: Board) -> int:
        """The seq of the other's newest message here: how many there are goes down where checkpoints replace them."""
        return seqs_in(self.directory, key_of(other.peer))[-1]


@pytest.fixture
def machines() -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Where the first one serves, and what runs a command on each."""
    if can_make_networks():
        with two_machines() as (one, other):
            yield FIRST, one, other
    else:
        yield HOST, (), ()


@pytest.fixture
def boards(tmp_path: Path, machines: tuple[str, Sequence[str], Sequence[str]]) -> Iterator[list[Board]]:
    made = [Board(tmp_path / str(person), person, within) for person, within in zip((1, 2), machines[1:], strict=True)]
    yield made
    for board in made:
        board.programs.__exit__(None, None, None)


def test_two_boards_learn_together_over_http_one_of_them_unreachable(boards, machines):
    (one, two), (host, _, within), port = boards, machines, free_port()
    scheme, pin = ("http", "") if host == HOST else ("https", f"/{one.peer}")  # an open swarm between machines
    one.start(serve=f"{host}:{port}")
    two.start(peers=f"{scheme}://{host}:{port}{pin}")
    for board in boards:
        wait_for(lambda board=board: board.status().get("following", 0) == 1, "to follow the other", 2 * PATIENCE)
    wait_for(lambda: one.has_merged(two) and two.has_merged(one), "both to have merged", 2 * PATIENCE)
    assert one.status()["connections"]["http server"].startswith(f"serving at {host}:{port}")

    cid = MANIFEST.swarm  # which no checkpoint replaces meanwhile
    url = f"{scheme}://{host}:{port}/ipfs/{cid}?format=raw"
    found = subprocess.run([*within, "curl", "-sSk", "--fail", url], capture_output=True, check=True).stdout
    assert hashlib.sha256(found).digest() == cid.digest

    assert one.process is not None
    one.process.stop()
    wait_for(lambda: any("away" in state for state in two.status()["connections"].values()), "the loss", 2 * PATIENCE)
    before = two.status()["steps"]
    wait_for(lambda: two.status()["steps"] > before, "training alone")
    heard = two.newest_of(one), one.newest_of(two)
    one.start(serve=f"{host}:{port}")
    wait_for(lambda: one.status().get("following") == 1, "to follow the other again", 2 * PATIENCE)
    wait_for(lambda: two.newest_of(one) > heard[0] + 5 and one.newest_of(two) > heard[1] + 5, "both", 4 * PATIENCE)
    for board in boards:
        assert board.process is not None
        assert "Traceback" not in board.process.stop()
