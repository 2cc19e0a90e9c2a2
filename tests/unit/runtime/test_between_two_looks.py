"""Commands that look twice while peers go on: what has gone or come between is no error and no success."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import tiny_learner, tiny_manifest
from disks import read_only
from messages_here import seqs_in

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.lock import holder
from learnae.cli.commands.keep import blocks
from learnae.cli.commands.swarm import join as join_module
from learnae.errors import ConfigurationError, NotWrittenError
from learnae.ipld.cid import RAW, Cid
from learnae.peer.peer import Options, Peer
from learnae.runtime.link_set import LinkSet
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.observer import Observer
from learnae.runtime.workspace import Workspace
from learnae.simulation.in_memory import MemoryExchange, SilentMonitor
from learnae.swarm.directory import create_swarm, open_swarm
from learnae.system.atomic_files import create_once
from learnae.system.paths import LOCK_FILE, STATE_FILE


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))


@pytest.fixture
def directory() -> Path:
    return create_swarm(tiny_manifest()).directory


def four_ticks(workspace: Workspace) -> Peer:
    """A peer that has trained there, and left; its last message stands on a checkpoint."""
    linked = build_peer(workspace, tiny_learner(), Options("pump", "trainer", 8, seed=1))
    for _ in range(4):
        linked.peer.tick()
    linked.leave()
    return linked.peer


def test_messages_that_are_deleted_meanwhile_are_passed_over(tmp_path: Path, directory: Path) -> None:
    four_ticks(Workspace(open_swarm(directory), tmp_path / "pump"))
    observer = Observer(directory)
    observer.refresh()
    newest, *others = [message.cid for message in observer.messages(100)]
    assert others
    LocalBlockStore(directory).delete([newest])
    assert [message.cid for message in observer.messages(100)] == others


def test_a_peer_that_has_lost_its_state_goes_on_from_what_it_said_itself(tmp_path: Path, directory: Path) -> None:
    for _ in range(2):
        workspace = Workspace(open_swarm(directory), tmp_path / "pump")
        peer = four_ticks(workspace)
        (workspace.directory / STATE_FILE).unlink()
    observer = Observer(directory)
    observer.refresh()
    assert seqs_in(directory) == list(range(9))
    assert next(observer.messages(1)).seq == 8
    assert not observer.tangle.is_banned(peer.author)


def test_who_leaves_while_the_disk_takes_nothing_says_so_and_leaves(tmp_path: Path, directory: Path) -> None:
    workspace = Workspace(open_swarm(directory), tmp_path / "pump")
    closed: list[str] = []
    links = LinkSet(monitors=(monitor := SilentMonitor(),), closers=(lambda: closed.append("closed"),))
    linked = build_peer(workspace, tiny_learner(), Options("pump", "trainer", 8, seed=1), links)
    linked.peer.tick()
    with read_only(workspace.directory), pytest.raises(NotWrittenError, match="cannot write"):
        linked.leave()
    assert "cannot write" in monitor.last["unwritable"]["error"]
    assert closed
    assert holder(workspace.directory / LOCK_FILE) is None


def test_blocks_that_are_deleted_while_they_are_pinned_are_passed_over(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, warehouse = LocalBlockStore(directory), dict[Cid, bytes]()
    kept, gone = store.put(RAW, b"kept"), store.put(RAW, b"gone")

    class Daemon(MemoryExchange):
        def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
            found = list(super().lacking(held))
            store.delete([gone])
            return found

    monkeypatch.setattr(blocks, "_exchange", lambda _: Daemon(warehouse))
    assert blocks.pin(directory) == {"pinned now": 1, "pinned in all": 1}
    assert warehouse == {kept: b"kept"}


def test_a_configuration_that_somebody_else_makes_meanwhile_is_not_said_to_be_ours(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "trainer.toml"

    def too_late(path: Path, data: bytes) -> bool:
        config.write_text("theirs")
        return create_once(path, data)

    monkeypatch.setattr(join_module, "create_once", too_late)
    options = Namespace(
        swarm=str(directory),
        name="pump",
        role="trainer",
        config=config,
        label=None,
        data=None,
        json=True,
        lan=False,
        start=False,
        broker="",
        user="",
        password_file=None,
        ca_file=None,
        prefix="learnae",
        accept="",
    )
    with pytest.raises(ConfigurationError, match="exists"):
        join_module.join(options)
    assert config.read_text() == "theirs"


@pytest.mark.modules("ipfshttpclient")
def test_daemons_are_met_again_whatever_went_wrong_the_last_time() -> None:
    from learnae.adapters.ipfs.exchange import Acquaintances

    def ask(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody has thought of this")

    acquaintances = Acquaintances(SimpleNamespace(ask=ask), ["/ip4/127.0.0.1/tcp/1"], 1)
    acquaintances._next = float("inf")  # as it is while they are met
    with pytest.raises(RuntimeError):
        acquaintances._connect()
    assert acquaintances._next < float("inf")
