"""Rows to calibrate with: the agent's own, evenly, bounded, beside an agent that is running."""

import logging
from pathlib import Path

import numpy as np
import pytest

from agent.config import AgentConfig, BufferSection
from agent.ingestion.buffer import FILE, SampleBuffer
from agent.ingestion.chunks import Seal
from agent.ingestion.database import read_spread
from agent.learning.calibration import MAX_ROWS, calibration_rows
from agent.sources.section import SourceSection
from learnae.ports import Samples
from learnae.swarm.features import RawWindow
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import convolution_config, preset

FEATURES = RawWindow(("a",), 10.0, 4, 4, (0.0,), (1.0,))
MANIFEST = Manifest(
    "motion", convolution_config((4, 1), ((2, 2, 1),), 3, "softmax"), "sparse_categorical_crossentropy",
    features=FEATURES
)  # fmt: skip
SECRET = bytes(range(32))


def samples(start: int, count: int, holdout: bool = False) -> Samples:
    number = np.arange(start, start + count)
    return Samples(number / 10, number[:, None].astype(np.float32), np.full(count, -1), np.full(count, holdout))


def buffered(path: Path, count: int, seal: Seal | None = None) -> SampleBuffer:
    """Of an agent that runs: ``count`` windows, one a chunk."""
    buffer = SampleBuffer(path / FILE, 1, 10**6, 10**8, seal)
    for start in range(0, 4 * count, 4):
        buffer.append("x", samples(start, 4))
    buffer.commit()
    return buffer


def live(path: Path, key: str = "") -> AgentConfig:
    return AgentConfig(source=SourceSection("hwmon", root=str(path)), buffer=BufferSection(key=key))


def test_a_recording_gives_its_training_rows_at_once_whatever_its_speed_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", time=np.arange(40) / 10, signal=np.arange(40.0)[:, None], label=np.full(40, 1))
    config = AgentConfig(source=SourceSection(file=str(tmp_path / "r.npz"), speed=1.0, holdout=0.4))
    rows = calibration_rows(config, MANIFEST, tmp_path)
    assert rows.dtype == np.float32
    assert rows[:, 0, 0].tolist() == [0, 4, 8, 12, 16, 20]  # 24 and later are held out


def test_a_buffer_is_read_beside_its_agent_evenly_and_within_bounds(tmp_path: Path) -> None:
    agent = buffered(tmp_path, 3000)
    rows = calibration_rows(live(tmp_path), MANIFEST, tmp_path)
    assert len(rows) == MAX_ROWS
    assert len(np.unique(rows[:, 0, 0])) == MAX_ROWS
    spread = np.histogram(rows[:, 0, 0], bins=10, range=(0, 12_000))[0]
    assert spread.min() > 0.5 * MAX_ROWS / 10
    assert len(calibration_rows(live(tmp_path), MANIFEST, tmp_path, 20)) == 20
    agent.append("x", samples(12_000, 4))
    agent.commit()  # nothing is locked
    assert agent.status()["trouble"] == ""


def test_no_more_of_a_buffer_is_decoded_than_asked_for_and_none_is_made(tmp_path: Path) -> None:
    buffered(tmp_path, 300)
    found = [piece for _, piece in read_spread(tmp_path / FILE, 1, None, 10, 6)]
    assert sum(len(piece.time) for piece in found) == 10 * 8  # whole chunks
    assert list(read_spread(tmp_path / "none.db", 1, None, 10, 6)) == []
    assert not (tmp_path / "none.db").exists()


def test_few_chunks_are_read_once_each_and_held_out_or_broken_rows_never(tmp_path: Path) -> None:
    agent = buffered(tmp_path, 3)
    agent.append("x", samples(12, 4, holdout=True))
    broken = samples(16, 4)
    broken.values[1] = np.nan
    agent.append("x", broken)
    agent.append("x", samples(20, 4))
    agent.commit()
    assert calibration_rows(live(tmp_path), MANIFEST, tmp_path)[:, 0, 0].tolist() == [0, 4, 8, 20]


def test_an_encrypted_buffer_is_read_with_its_key_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    buffered(tmp_path, 5, Seal(SECRET)).close()
    (tmp_path / "key").write_bytes(SECRET)
    (tmp_path / "other").write_bytes(SECRET[::-1])
    for name in ("key", "other"):
        (tmp_path / name).chmod(0o600)
    assert len(calibration_rows(live(tmp_path, str(tmp_path / "key")), MANIFEST, tmp_path)) == 5
    assert not caplog.records
    assert len(calibration_rows(live(tmp_path, str(tmp_path / "other")), MANIFEST, tmp_path)) == 0
    assert "another key" in caplog.text


def test_what_cannot_be_read_is_said_and_left_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    assert calibration_rows(live(tmp_path), MANIFEST, tmp_path).shape == (0, 4, 1)
    assert "cannot be read" in caplog.text
    assert (tmp_path / FILE).read_bytes() == b"no database" * 1000
    missing = AgentConfig(source=SourceSection(file=str(tmp_path / "none.npz")))
    assert len(calibration_rows(missing, MANIFEST, tmp_path)) == 0
    assert "none.npz" in caplog.text
    assert len(calibration_rows(AgentConfig(), MANIFEST, tmp_path)) == 0


def test_there_are_none_before_the_first_run_and_in_a_swarm_of_trainers(tmp_path: Path) -> None:
    assert calibration_rows(live(tmp_path), MANIFEST, tmp_path).shape == (0, 4, 1)
    assert not (tmp_path / FILE).exists()
    assert calibration_rows(live(tmp_path), preset("hepmass", 0), tmp_path).shape == (0, 27)
