"""The monitor on a file: not too often, never in the way."""

import json
import logging
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from learnae.adapters.local import status_file
from learnae.adapters.local.status_file import StatusFile, summary


def status(**changes: Any) -> dict[str, Any]:
    return {
        "name": "pump",
        "accuracy": 0.5,
        "loss": 0.25,
        "steps": 26,
        "peers": 3,
        "messages": 12,
        "bytes_out": 100,
        "bytes_in": 200,
        "unwritable": None,
        "listening": None,
        "catching_up": None,
        "banned": False,
        "problems": {},
        "last_problems": {},
        **changes,
    }


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(
            status_file,
            "time",
            SimpleNamespace(monotonic=lambda: self.now, strftime=time.strftime, localtime=time.localtime),
        )


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def written(path: Path) -> int:
    steps: int = json.loads(path.read_text())["steps"]
    return steps


def test_a_training_that_has_diverged_makes_no_file_that_others_cannot_read(tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "status.json"
    StatusFile(path).report(status(loss=float("inf"), inner={"list": [float("nan"), 1.0]}))
    found = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (found["loss"], found["inner"]) == (None, {"list": [None, 1.0]})


def test_the_file_is_replaced_at_most_twice_a_second(tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "status.json"
    monitor = StatusFile(path)
    monitor.report(status(steps=1))
    watch.now += 0.4
    monitor.report(status(steps=2))
    assert written(path) == 1
    watch.now += 0.1
    monitor.report(status(steps=3))
    assert written(path) == 3


def test_a_flush_does_not_wait(tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "status.json"
    monitor = StatusFile(path)
    monitor.report(status(steps=1))
    monitor.close(status(steps=2))
    assert written(path) == 2


def test_a_line_is_logged_every_half_minute(tmp_path: Path, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "learnae")
    monitor = StatusFile(tmp_path / "status.json")
    for _ in range(61):
        monitor.report(status())
        watch.now += 1.0
    assert [record.message for record in caplog.records] == [summary(status())] * 3


def test_a_problem_is_logged_when_it_is_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "learnae")
    monitor = StatusFile(tmp_path / "status.json")
    for count in (1, 2, 3):
        monitor.report(status(problems={"FrameError": count}, last_problems={"FrameError": f"frame {count} is bad"}))
    assert [record.message for record in caplog.records] == [
        "FrameError: frame 1 is bad (counted in status from now on)"
    ]


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    StatusFile(tmp_path / "gone" / "status.json").report(status())
    assert any("cannot write" in record.message and "gone" in record.message for record in caplog.records)


def test_that_it_cannot_be_written_is_said_once(tmp_path: Path, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "gone"
    monitor = StatusFile(directory / "status.json")

    def warnings_after_two_reports() -> int:
        for _ in range(2):
            monitor.report(status())
            watch.now += 1.0
        return sum("cannot write" in record.message for record in caplog.records)

    assert warnings_after_two_reports() == 1
    directory.mkdir()
    assert warnings_after_two_reports() == 1
    shutil.rmtree(directory)
    assert warnings_after_two_reports() == 2


def test_a_summary_is_one_line_the_headline_and_what_was_done() -> None:
    counts = "26 steps, 3 peers, 12 messages, 100 bytes out, 200 in"
    assert summary(status()) == f"pump: learning: accuracy 0.500; merges 2 others; {counts}"
    assert "\n" not in summary(status())
    assert "; 1 step, 1 peer, 1 message, 1 byte out, " in summary(status(steps=1, peers=1, messages=1, bytes_out=1))


def test_a_disk_that_takes_nothing_is_said_at_its_beginning_and_its_end(
    tmp_path: Path, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "learnae")
    monitor = StatusFile(tmp_path / "status.json")
    full = status(unwritable={"since": 0, "error": "cannot write state: no space left"})
    for _ in range(2):
        for _ in range(3):
            monitor.report(full)
        for _ in range(3):
            monitor.report(status())
    assert [record.message for record in caplog.records] == [
        "publishing nothing until the disk takes it: cannot write state: no space left",
        "the disk takes it again: publishing",
    ] * 2
    assert summary(full).startswith("pump: needs attention: nothing is published since 19")
    assert "cannot write state: no space left; 26 steps" in summary(full)


def test_that_a_peer_listens_first_is_said_at_its_beginning_and_its_end(
    tmp_path: Path, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "learnae")
    monitor = StatusFile(tmp_path / "status.json")
    back = status(listening=1_700_000_000_000, catching_up={"done": 2, "known": 7})
    monitor.report(back)
    caplog.clear()
    for said in (back, status(), status(), back):
        monitor.report(said)
    assert [record.message for record in caplog.records] == [
        "publishing",
        "new here, or back: hearing others before publishing",
    ]
    assert summary(back).startswith("pump: catching up: 2 of 7; accuracy 0.500")


def test_a_ban_is_said_first() -> None:
    assert summary(status(banned=True, listening=1)).startswith("pump: needs attention: banned for ever: its key has")
