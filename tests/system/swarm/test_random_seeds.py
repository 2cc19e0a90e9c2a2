"""Swarms to which everything happens, from seeds; they find what they are for: a product with a fault.

Run as a program, it prints the traces of two: replays in other processes are compared with those.
"""

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
from learnae.simulation.seeds.scenario import EQUIVOCATE, FLOOD, INVITE, KILL, POWER_CUT, Event, Scenario, draw
from learnae.simulation.seeds.world import play
from learnae.system import atomic_files

CRASHES = tuple(
    Event(time, kind, peer, 500, fuse)
    for time, kind, peer, fuse in [
        (6_000, POWER_CUT, 0, 3), (9_000, KILL, 1, 9), (14_000, POWER_CUT, 1, 7), (20_000, POWER_CUT, 0, 11),
        (26_000, KILL, 0, 5), (31_000, POWER_CUT, 1, 14),
    ]
)  # fmt: skip
CRASHING = [Scenario(seed, 2, 36, events=CRASHES) for seed in (1, 2)]
KILLED_WHILE_SAVING = [
    Scenario(1, 2, 30, events=(Event(20_000, KILL, 0, 7_000, fuse), Event(26_000, POWER_CUT, 0, 500, 1)))
    for fuse in range(16, 60)
]
REPLAYED = [
    Scenario(
        1, 3, 24, INVITE, delay=900, loss=0.1, doubles=0.2, private=True, events=(*CRASHES[:4], Event(7_000, FLOOD))
    ),
    Scenario(1, 2, 20, listens=True, events=(Event(3_000, EQUIVOCATE, 0, 5_000), *CRASHES[:3])),
]


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
    without("if durable:\n            _disk.get().sync_directory(path.parent)", patch)


def without_waiting_for_what_is_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state_store, "wait_for", lambda _: None)


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
    without_waiting_for_what_is_read,
    without_waiting_for_checkpoints,
    shown_before_saved,
]


@pytest.mark.parametrize("first", range(0, how_many(5, 1000), 5))
def test_whatever_happens_all_holds_that_must(first: int) -> None:
    for seed in range(first, first + 5):
        outcome = play(draw(seed))
        assert not outcome.broken, f"learnae simulate --random --first {seed} --seeds 1: {outcome}"


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_fault_in_the_product_breaks_a_seed(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    scenarios = KILLED_WHILE_SAVING if fault is without_waiting_for_what_is_read else CRASHING
    broken = next(scenario for scenario in scenarios if play(scenario).broken)
    monkeypatch.undo()
    assert not play(broken).broken


def test_a_log_that_is_often_written_back_loses_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not this that breaks the seeds where nothing is waited for."""
    often = block_database._SETTINGS.replace("autocheckpoint = 256", "autocheckpoint = 8")
    monkeypatch.setattr(block_database, "_SETTINGS", often)
    assert not any(play(scenario).broken for scenario in CRASHING)


def traces() -> list[str]:
    return [play(scenario).trace for scenario in REPLAYED]


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
    file = tmp_path / "scenario"
    file.write_text(json.dumps(CRASHING[0].to_fields()))
    without_name_sync(monkeypatch)
    assert run_command("--scenario", str(file), "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)["broken"]
    assert found["invariant"] == NOT_BACK
    assert [event["kind"] for event in found["scenario"]["events"]] == [POWER_CUT]
    file.write_text(json.dumps(found["scenario"]))
    assert run_command("--scenario", str(file)) == 1
    told = capsys.readouterr().out
    assert f"seed 1 breaks: {NOT_BACK}" in told
    assert "1 seeds, 1 broken" in told
    monkeypatch.undo()
    assert run_command("--scenario", str(file)) == 0


def test_seeds_are_played_from_the_first_one_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("--random", "--first", "17", "--seeds", "2", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["seeds"], figures["broken"]) == (2, [])
    assert figures["messages"] > 20
    assert run_command() == 78


if __name__ == "__main__":
    print(json.dumps(traces()))
