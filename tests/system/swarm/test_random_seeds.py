"""Swarms to which everything happens, from seeds; and that they find what they are for: the product with a fault."""

import inspect
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from nightly import how_many
from programs import succeed

from learnae.adapters.local import block_database, state_store
from learnae.cli.main import main
from learnae.ipld.cid import Cid
from learnae.peer.publisher import Publisher
from learnae.protocol.messages import Message
from learnae.simulation.seeds.invariants import NOT_BACK
from learnae.simulation.seeds.scenario import POWER_CUT, draw
from learnae.simulation.seeds.world import play
from learnae.system import atomic_files

WITH_CRASHES = (3, 8)
REPLAYED = (1, 8)  # a sealed swarm with strangers, and an open one


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


def without_waiting_for_checkpoints(patch: pytest.MonkeyPatch) -> None:
    settings = block_database._SETTINGS.replace("synchronous = NORMAL", "synchronous = OFF")
    patch.setattr(block_database, "_SETTINGS", settings.replace("autocheckpoint = 256", "autocheckpoint = 8"))


def shown_before_saved(patch: pytest.MonkeyPatch) -> None:
    def commit(publisher: Publisher, message: Message) -> Cid:
        publisher.view.note(publisher.own.show(message))
        publisher.save(message)
        return message.cid

    patch.setattr(Publisher, "_commit", commit)


MUTANTS = [without_file_sync, without_name_sync, without_waiting_for_checkpoints, shown_before_saved]


@pytest.mark.parametrize("first", range(0, how_many(10, 1000), 10))
def test_whatever_happens_all_holds_that_must(first: int) -> None:
    for seed in range(first, first + 10):
        outcome = play(draw(seed))
        assert not outcome.broken, f"learnae simulate --random --first {seed} --seeds 1: {outcome}"


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_fault_in_the_product_breaks_a_seed(fault: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        assert any(play(draw(seed)).broken for seed in WITH_CRASHES)


def test_a_log_that_is_often_written_back_loses_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not this that breaks the seeds where nothing is waited for."""
    often = block_database._SETTINGS.replace("autocheckpoint = 256", "autocheckpoint = 8")
    monkeypatch.setattr(block_database, "_SETTINGS", often)
    assert not any(play(draw(seed)).broken for seed in WITH_CRASHES)


def traces() -> list[str]:
    return [play(draw(seed)).trace for seed in REPLAYED]


def test_a_seed_replays_exactly_in_any_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    replay = succeed(sys.executable, __file__, env=environment, cwd=Path(__file__).parents[3])
    here = traces()
    assert json.loads(replay.stdout) == here
    assert len(set(here)) == len(REPLAYED)


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["simulate", *arguments])
    return int(end.value.code or 0)


def test_what_breaks_is_told_small_and_can_be_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed, file = WITH_CRASHES[0], tmp_path / "scenario"
    without_name_sync(monkeypatch)
    assert run_command("--random", "--first", str(seed), "--seeds", "1", "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)["broken"]
    assert (found["seed"], found["invariant"]) == (seed, NOT_BACK)
    assert [event["kind"] for event in found["scenario"]["events"]] == [POWER_CUT]
    file.write_text(json.dumps(found["scenario"]))
    assert run_command("--scenario", str(file)) == 1
    told = capsys.readouterr().out
    assert NOT_BACK in told
    assert "1 seeds, 1 broken" in told
    monkeypatch.undo()
    assert run_command("--scenario", str(file)) == 0


if __name__ == "__main__":
    print(json.dumps(traces()))
