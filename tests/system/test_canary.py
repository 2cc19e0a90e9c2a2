"""Raw readings never leave: every byte that a peer puts out is searched for planted readings."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from iri_node import IriNode

from demo.swarm import Swarm
from learnae.adapters.iota_client import Node, Transaction
from learnae.observer import Observer

CHANNELS = 6
FORMATS = ("<f4", ">f4", "<f8", ">f8", "<f2", ">f2")


def patterns(readings: np.ndarray) -> list[bytes]:
    """Neighbouring readings in every form in which they could travel: long enough not to occur by chance."""
    found = []
    for row in readings:
        for form in FORMATS:
            encoded = row.astype(form).tobytes()
            found += [encoded[start : start + 8] for start in range(0, len(encoded) - 7, row.astype(form).itemsize)]
        found += [f"{value:.6f}".encode() for value in row]
    return found


def occurrences(directory: Path, planted: list[bytes]) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files for data in [path.read_bytes()] if any(pattern in data for pattern in planted)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "engine", "messages"), [("agent", "auto", 40), ("trainer", "auto", 40), ("agent", "none", 2)]
)
def test_planted_readings_stay_home(tmp_path: Path, role: str, engine: str, messages: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    swarm = Swarm.create(home)
    rng = np.random.default_rng(11)
    readings = rng.normal(size=(5000, CHANNELS)).astype(np.float32)
    private = home / "private.npz"
    np.savez(private, signal=readings, label=np.repeat(np.arange(5), 1000))
    section = "source" if role == "agent" else "data"
    config = home / "canary.toml"
    config.write_text(
        f'[peer]\nname = "canary"\n[swarm]\nid = "{swarm.directory}"\n'
        f'[{section}]\nfile = "{private}"\n[train]\nengine = "{engine}"\n'
    )
    planted = patterns(readings[::250])
    observer = Observer(swarm.directory)
    try:
        swarm.start("canary", role, config)
        deadline = time.monotonic() + 30
        while observer.refresh() < messages and time.monotonic() < deadline:
            time.sleep(0.2)
        swarm.processes["canary"].send_signal(signal.SIGTERM)
        assert swarm.processes["canary"].wait(20) == 0
    finally:
        swarm.stop()
    assert observer.refresh() >= messages
    (view,) = observer.peers()
    assert view.summary == (engine == "none")
    assert (view.steps > 0) == (engine != "none")
    assert occurrences(swarm.directory, planted) == []
    assert "private.npz" in occurrences(home, planted), "the search itself must be able to find them"


@pytest.mark.slow
def test_planted_readings_do_not_get_onto_a_tangle(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    swarm = Swarm.create(home)
    readings = np.random.default_rng(12).normal(size=(5000, CHANNELS)).astype(np.float32)
    private = home / "private.npz"
    np.savez(private, signal=readings, label=np.repeat(np.arange(5), 1000))
    planted = patterns(readings[::250])
    with IriNode(tmp_path / "tangle") as node:
        config = home / "canary.toml"
        config.write_text(
            f'[peer]\nname = "canary"\n[swarm]\nid = "{swarm.directory}"\n[source]\nfile = "{private}"\n'
            f'[iota]\nnode = "{node.url}"\npoll = 0.2\nevery = 0.1\n'
        )
        try:
            swarm.start("canary", "agent", config)
            deadline = time.monotonic() + 60
            while len(node.names()) < 5 and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            swarm.stop()
        client = Node(node.url)
        sent = [transaction.message for transaction in client.read(node.names())]
        able = Transaction("", client.propose(planted[0], "LEARNAE9TEST9OF9CANARIES9AA", "A" * 80 + "9")).message
    assert len(sent) >= 5
    assert not [message for message in sent for pattern in planted if pattern in message]
    assert planted[0] in able, "the search itself must be able to find them"
