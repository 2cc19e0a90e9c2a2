"""Swarms to which everything happens, from seeds; and that they find what they are for: the product with a fault."""

import inspect
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from nightly import how_many

from learnae.adapters.local import block_database, state_store
from learnae.ipld.cid import Cid
from learnae.peer.publisher import Publisher
from learnae.protocol.messages import Message
from learnae.simulation.seeds.scenario import draw
from learnae.simulation.seeds.world import play
from learnae.system import atomic_files


def without(line: str, patch: pytest.MonkeyPatch) -> None:
    """Let the product write its files without one of its lines."""
    source = inspect.getsource(atomic_files)
    assert source.count(line) == 1
    mutant = types.ModuleType("mutant")
    exec(compile(source.replace(line, "pass"), str(Path(atomic_files.__file__)), "exec"), mutant.__dict__)
    mutant._disk = atomic_files._disk  # type: ignore[attr-defined]
    patch.setattr(state_store, "write_atomic", mutant.write_atomic)
    patch.setattr(block_database, "create_once", mutant.create_once)


def without_file_sync(patch: pytest.MonkeyPatch) -> None:
    without("disk.sync(descriptor)", patch)


def without_name_sync(patch: pytest.MonkeyPatch) -> None:
    without("_disk.get().sync_directory(path.parent)", patch)


def without_new_name_sync(patch: pytest.MonkeyPatch) -> None:
    without("    disk.sync_directory(path.parent)", patch)


def without_waiting_for_checkpoints(patch: pytest.MonkeyPatch) -> None:
    settings = block_database._SETTINGS.replace("synchronous = NORMAL", "synchronous = OFF")
    patch.setattr(block_database, "_SETTINGS", settings.replace("autocheckpoint = 256", "autocheckpoint = 8"))


def shown_before_saved(patch: pytest.MonkeyPatch) -> None:
    def commit(publisher: Publisher, message: Message) -> Cid:
        publisher.view.note(publisher.own.show(message))
        publisher.save(message)
        return message.cid

    patch.setattr(Publisher, "_commit", commit)


MUTANTS = [
    without_file_sync,
    without_name_sync,
    without_new_name_sync,
    without_waiting_for_checkpoints,
    shown_before_saved,
]
