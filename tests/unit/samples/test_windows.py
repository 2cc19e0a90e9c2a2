"""Windows: none spans what must not be mixed, and how the stream was cut does not matter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.ports import Samples
from learnae.samples.windows import Windower, Windows
from learnae.swarm.features import WindowStatistics

RATE = 50.0


def statistics(window: int = 100, hop: int = 50) -> WindowStatistics:
    return WindowStatistics(("a",), RATE, window, hop, shift=(0.0,) * 5, scale=(1.0,) * 5)


def stream(
    count: int,
    label: Sequence[int] | int = 0,
    holdout: Sequence[bool] | bool = False,
    gaps: Sequence[int] = (),
    gap: float = 10.0,
) -> Samples:
    """Samples whose values are their numbers; ``gap`` s pass before each sample of ``gaps``."""
    step = np.full(count, 1 / RATE)
    step[list(gaps)] = gap
    return Samples(
        np.cumsum(step),
        np.arange(count, dtype=np.float32)[:, None],
        np.broadcast_to(np.asarray(label, np.int64), count),
        np.broadcast_to(np.asarray(holdout, np.bool_), count),
    )


def starts(windows: Windows) -> list[int]:
    """The number of each window's first sample, after checking that the others follow it."""
    rows = windows.values[:, :, 0]
    assert (np.diff(rows, axis=1) == 1).all()
    return [int(row[0]) for row in rows]


def test_windows_of_two_seconds_overlap_by_half() -> None:
    windows = Windower(statistics()).push(stream(260))
    assert windows.values.shape == (4, 100, 1)
    assert starts(windows) == [0, 50, 100, 150]


def test_a_window_is_complete_with_its_last_sample() -> None:
    windower, samples = Windower(statistics()), stream(150)
    assert starts(windower.push(samples.part(slice(0, 99)))) == []
    assert starts(windower.push(samples.part(slice(99, 100)))) == [0]
    assert starts(windower.push(samples.part(slice(100, 149)))) == []
    assert starts(windower.push(samples.part(slice(149, 150)))) == [50]


def test_no_window_spans_a_gap() -> None:
    assert starts(Windower(statistics()).push(stream(350, gaps=[130]))) == [0, 130, 180, 230]


@pytest.mark.parametrize(("periods", "expected"), [(1.4, [0, 50, 100]), (1.6, [0, 120])])
def test_a_late_sample_is_no_gap_but_a_missing_one_is(periods: float, expected: list[int]) -> None:
    samples = stream(220, gaps=[120], gap=periods / RATE)
    assert starts(Windower(statistics()).push(samples)) == expected


def test_no_window_has_two_labels() -> None:
    label = [3] * 130 + [-1] * 20 + [5] * 110
    windows = Windower(statistics()).push(stream(260, label=label))
    assert starts(windows) == [0, 150]
    assert windows.label.tolist() == [3, 5]


def test_no_window_mixes_training_and_held_out_samples() -> None:
    windows = Windower(statistics()).push(stream(260, holdout=[False] * 120 + [True] * 140))
    assert starts(windows) == [0, 120]
    assert windows.holdout.tolist() == [False, True]


def test_what_is_too_short_gives_nothing_of_the_right_shape() -> None:
    windower = Windower(statistics())
    for count in (0, 99):
        windows = windower.push(stream(99).part(slice(count)))
        assert windows.values.shape == (0, 100, 1)
        assert (len(windows.label), len(windows.holdout)) == (0, 0)


STRETCH = st.tuples(st.integers(1, 13), st.integers(-1, 2), st.booleans(), st.booleans())


def assemble(stretches: Sequence[tuple[int, int, bool, bool]]) -> Samples:
    """Stretches of (samples, label, held out, begins after a gap)."""
    lengths = [length for length, *_ in stretches]
    begins = np.cumsum([0, *lengths[:-1]]).tolist()
    gaps = [begin for begin, (*_, gap) in zip(begins, stretches, strict=True) if gap and begin]
    label = np.repeat([label for _, label, _, _ in stretches], lengths)
    holdout = np.repeat([held for *_, held, _ in stretches], lengths)
    return stream(sum(lengths), label.tolist(), holdout.tolist(), gaps)


def plain_windows(samples: Samples, window: int, hop: int) -> list[tuple[int, int, bool]]:
    """The slow twin: try every start, keep track of where an uninterrupted stretch began."""
    found, begun = [], 0
    for index in range(len(samples.time)):
        broken = index > 0 and (
            samples.time[index] - samples.time[index - 1] > 1.5 / RATE
            or samples.label[index] != samples.label[index - 1]
            or samples.holdout[index] != samples.holdout[index - 1]
        )
        if broken:
            begun = index
        start = index - window + 1
        if start >= begun and (start - begun) % hop == 0:
            found.append((start, int(samples.label[start]), bool(samples.holdout[start])))
    return found


def cut(samples: Samples, sizes: Sequence[int], features: WindowStatistics) -> list[tuple[int, int, bool]]:
    """The windows of a stream that comes in chunks of ``sizes``, again and again."""
    windower, position, found = Windower(features), 0, []
    turn = 0
    while position < len(samples.time):
        size = sizes[turn % len(sizes)]
        windows = windower.push(samples.part(slice(position, position + size)))
        found += zip(starts(windows), windows.label.tolist(), windows.holdout.tolist(), strict=True)
        position, turn = position + size, turn + 1
    return found


CHUNKS: Any = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any)


@given(st.lists(STRETCH, min_size=1, max_size=6), CHUNKS, st.integers(1, 6), st.integers(1, 9))
def test_windows_do_not_depend_on_how_the_stream_is_cut(
    stretches: list[tuple[int, int, bool, bool]], sizes: list[int], window: int, hop: int
) -> None:
    """Also where windows lie apart (hop > window), and where a chunk ends between two of them."""
    samples = assemble(stretches)
    assert cut(samples, sizes, statistics(window, hop)) == plain_windows(samples, window, hop)


@pytest.mark.parametrize("jump", [-366 * 86_400.0, -0.03, 366 * 86_400.0])
def test_no_window_spans_a_clock_that_jumps(jump: float) -> None:
    samples = stream(300)
    samples.time[150:] += jump
    whole = Windower(statistics())
    windows = whole.push(samples)
    assert starts(windows) == [0, 50, 150, 200]
    assert np.allclose(windows.time, samples.time[[99, 149, 249, 299]])
    pieces = Windower(statistics())
    found = [start for cut in range(0, 300, 7) for start in starts(pieces.push(samples.part(slice(cut, cut + 7))))]
    assert found == [0, 50, 150, 200]
