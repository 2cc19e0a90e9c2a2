"""The curves of a peer on its disk: bounded, private, and readable whatever a power cut has left."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from learnae.adapters.local import figures_file
from learnae.adapters.local.figures_file import Figures, FiguresFile, read_figures


def status(seq: int, **changes: Any) -> dict[str, Any]:
    return {"seq": seq, "time": 1000 * seq, "steps": 26 * seq, "loss": 0.5, "accuracy": None, "peers": 3, **changes}


class Watch:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_point_is_kept_after_own_updates_and_now_and_then_without(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "figures"
    kept = FiguresFile(path, watch)
    for now, seq, points in ((0, 1, 1), (1, 2, 1), (11, 2, 2), (30, 2, 2), (500, 2, 2), (620, 2, 3), (640, 3, 4)):
        watch.now = now
        kept.report(status(seq))
        assert len(read_figures(path)) == points
    kept.close(status(4, privacy={"epsilon": 2.0}, loss=float("nan")))
    assert read_figures(path)[-1] == Figures(4000, {"steps": 104, "peers": 3, "epsilon": 2.0})
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_long_file_loses_every_other_point_and_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures_file, "MOST_BYTES", 2000)
    watch, path = Watch(), tmp_path / "figures"
    kept = FiguresFile(path, watch)
    for seq in range(1, 200):
        watch.now += 10
        kept.report(status(seq))
        assert path.stat().st_size <= 2000
        assert read_figures(path)[-1].time == 1000 * seq
    times = [point.time for point in read_figures(path)]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert times[0] == 1000
    assert steps[0] == max(steps)
    assert len(times) > 8


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "figures"
    good = json.dumps({"time": 5, "loss": 1, "accuracy": True, "mae": "1", "other": 7, "steps": 10**400})
    bad = [b'{"time": 1e999}', b'{"time": -1}', b"{", b"[" * 100_000, b"\0" * 9, b"7", b'{"loss": 1}', b'{"time":1e17}']
    path.write_bytes(b"\n".join([*bad, good.encode(), b'{"time": 2, "loss": NaN}', b'{"time": 7, "lo']))
    assert read_figures(path) == [Figures(2, {}), Figures(5, {"loss": 1})]
    assert read_figures(tmp_path / "none") == []


def test_a_disk_that_takes_nothing_is_said_once_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = FiguresFile(tmp_path / "gone" / "figures", watch := Watch())
    for seq in range(3):
        watch.now += 60
        kept.report(status(seq))
    assert caplog.text.count("cannot write") == 1
    (tmp_path / "gone").mkdir()
    kept.close(status(9))
    assert len(read_figures(tmp_path / "gone" / "figures")) == 1
