"""Labels that a person gives, and slices of time that are held out."""

from pathlib import Path

import numpy as np
import pytest
from builders import Watch

from agent import labels
from agent.ingestion.recorder import Holdout
from agent.labels import FILE, GivenLabel, LabelNames, write_label
from learnae.errors import ConfigurationError
from learnae.ports import Samples
from learnae.samples.windows import Windower
from learnae.swarm.features import WindowStatistics

NAMES = LabelNames(("idle", "busy"), 2)
NOBODY = -1


def test_a_label_holds_until_another_or_none_is_given(tmp_path: Path) -> None:
    given = GivenLabel(tmp_path, NAMES)
    assert given.now() == NOBODY
    for label, number in (("busy", 1), ("idle", 0), ("", NOBODY), ("busy", 1)):
        write_label(tmp_path, label, None)
        assert given.now() == number
    assert GivenLabel(tmp_path, NAMES).now() == 1, "also over a restart"
    (tmp_path / FILE).unlink()
    assert given.now() == NOBODY


def test_a_label_for_some_seconds_ends_by_itself_and_with_a_restart(tmp_path: Path) -> None:
    watch = Watch()
    given = GivenLabel(tmp_path, NAMES, watch)
    write_label(tmp_path, "busy", 10)
    assert given.now() == 1
    watch.now += 9.9
    assert given.now() == 1
    assert GivenLabel(tmp_path, NAMES, watch).now() == NOBODY
    watch.now += 0.2
    assert given.now() == NOBODY


@pytest.mark.parametrize(("seconds", "stays"), [(20.0, False), (None, True)])
def test_a_label_that_is_said_while_another_one_is_taken_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float | None, stays: bool
) -> None:
    watch = Watch()
    given, read = GivenLabel(tmp_path, NAMES, watch), labels.read_regular
    write_label(tmp_path, "idle", 10)

    def meanwhile(path: Path, most: int) -> bytes:
        data = read(path, most)
        monkeypatch.setattr(labels, "read_regular", read)
        write_label(tmp_path, "busy", seconds)
        return data

    monkeypatch.setattr(labels, "read_regular", meanwhile)
    given.now()
    assert given.now() == 1
    watch.now += 15
    assert given.now() == 1, "the newer one counts"
    assert [path.name for path in tmp_path.iterdir()] == [FILE] * stays
    assert GivenLabel(tmp_path, NAMES, watch).now() == (1 if stays else NOBODY)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"label": "busy"}', b'{"label": "busy", "seconds": "x"}', b"\xff"]
)
def test_a_damaged_label_file_is_ignored(tmp_path: Path, data: bytes) -> None:
    given = GivenLabel(tmp_path, NAMES)
    (tmp_path / FILE).write_bytes(data)
    assert given.now() == NOBODY


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_seconds_out_of_range_are_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ConfigurationError):
        write_label(tmp_path, "busy", seconds)


def test_an_agent_that_has_never_run_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="start it first"):
        write_label(tmp_path / "absent", "busy", None)


def test_names_and_numbers_of_classes() -> None:
    assert [NAMES.number(text) for text in ("idle", "busy", "", "lazy", "1")] == [0, 1, -1, -1, -1]
    assert NAMES.unknown == 2
    plain = LabelNames((), 3)
    assert [plain.number(text) for text in ("0", "2", "3", "-1", "²", "9" * 99)] == [0, 2, -1, -1, -1, -1]
    with pytest.raises(ConfigurationError, match="idle, busy"):
        NAMES.check("lazy")
    forms = LabelNames(("1", "l\u00e4uft"), 2)
    assert [forms.number(text) for text in ("1", "1.0", " la\u0308uft ", "0")] == [0, 0, 1, -1]


def test_a_label_that_is_no_class_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    names = LabelNames(("open", "closed"), 2)
    for text in ("OPEN", "OPEN", '{"state":"open"}', "open", "", "x" * 100):
        names.number(text)
    assert names.unknown_names == {"OPEN": 2, '{"state":"open"}': 1, "x" * 40: 1}
    assert names.unknown == 4
    assert [record.getMessage() for record in caplog.records][:1] == [
        "label 'OPEN' is none of open, closed: readings are unlabelled (counted from now on)"
    ]
    assert len(caplog.records) == 3
    for number in range(100):
        names.number(f"flood {number}")
    assert (names.unknown, len(names.unknown_names), len(caplog.records)) == (104, 16, 16)
    with pytest.raises(ConfigurationError, match="there are open, closed"):
        names.check("ajar")
    assert names.unknown == 104, "a question is no label"


# -- holdout

FEATURES = WindowStatistics(("a",), 50.0, 100, 50, (0.0,) * 5, (1.0,) * 5)
DAY = np.arange(0, 86_400, 0.5) + 1.7e9


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.9])
def test_the_share_of_time_is_held_out_evenly(share: float) -> None:
    marks = Holdout(share, FEATURES).marks(DAY)
    assert marks.mean() == pytest.approx(share, abs=0.01)
    for hour in np.split(marks, 24):
        assert hour.mean() == pytest.approx(share, abs=0.05)


def test_a_slice_is_long_enough_for_many_windows_and_always_the_same() -> None:
    holdout = Holdout(0.3, FEATURES)
    marks = holdout.marks(DAY)
    lengths = np.diff(np.flatnonzero(np.diff(marks) != 0)) * 0.5
    assert lengths.min() >= 10 * FEATURES.window / FEATURES.rate
    assert (Holdout(0.3, FEATURES).marks(DAY[1000:]) == marks[1000:]).all()


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.01, 0.1, 0.3, 1 / 3, 0.5, 0.99])
def test_when_the_next_slice_is_held_out_is_known(share: float) -> None:
    holdout = Holdout(share, FEATURES)
    for now in np.arange(1.7e9, 1.7e9 + 40_000, 333.3):
        begin = holdout.next_begin(now)
        if not share:
            assert begin == float("inf")
            continue
        assert holdout.marks(np.array([begin + holdout.seconds / 2]))[0]
        before = np.arange(now, min(begin, now + 1e5), holdout.seconds / 4)
        assert not holdout.marks(before).any()


def test_no_held_out_window_shares_a_reading_with_one_that_is_trained_on() -> None:
    time = 1.7e9 + np.arange(50 * 300) / 50
    values = np.arange(len(time), dtype=np.float32)[:, None]
    marks = Holdout(0.3, FEATURES).marks(time)
    windows = Windower(FEATURES).push(Samples(time, values, np.zeros(len(time), np.int64), marks))
    seen = [set(windows.values[windows.holdout == kind].ravel().tolist()) for kind in (False, True)]
    assert min(map(len, seen)) > 1000
    assert not seen[0] & seen[1]
