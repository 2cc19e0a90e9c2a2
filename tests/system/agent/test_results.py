"""What an agent's results say: anomalies by own held-out rows, in the time of the recording, and why there are none."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from programs import Programs, wait_for
from sensors import CHANNELS, RATE, make_swarm

BEGIN = 1_714_564_800  # 2024-05-01T12:00:00Z
SAMPLES, FAULTY = 4000, 60  # windows begin every 5 samples; the last are faulty


def record(path: Path, dated: bool, samples: int = SAMPLES) -> None:
    """A recording of noise, with a fault at its end."""
    values = np.random.default_rng(3).normal(size=(samples, len(CHANNELS)))
    values[-FAULTY:] *= 30
    begin = BEGIN if dated else 0
    times = (begin + index / RATE for index in range(samples))
    shown = [datetime.fromtimestamp(time, UTC).isoformat() if dated else f"{time:.2f}" for time in times]
    lines = [",".join([time, *map(str, row)]) for time, row in zip(shown, values.tolist(), strict=True)]
    path.write_text("\n".join([",".join(["time", *CHANNELS]), *lines]) + "\n")


def judge(programs: Programs, dated: bool, more: str, samples: int = SAMPLES) -> tuple[list[dict], dict, list[str]]:
    """Results and status of an agent that reads a recording, and the lines that people read."""
    record(programs.home.parent / "recording.csv", dated, samples)
    make_swarm(programs.home)
    path = programs.home.parent / "agent.toml"
    path.write_text(f'[source]\nfile = "{programs.home.parent / "recording.csv"}"\nspeed = 0\n{more}')
    agent = programs.start("agent", "run", "--config", path)
    wait_for(lambda: programs.status("agent").get("inference", {}).get("count"), "results")
    agent.stop()
    lines = programs.run("agent", "results", "-n", "1000", "--config", path).stdout.splitlines()
    return programs.answer("agent", "results", "-n", 1000, "--config", path), programs.status("agent"), lines


def test_a_fault_in_a_recording_is_an_anomaly_at_the_time_when_it_was(programs: Programs) -> None:
    results, status, lines = judge(programs, True, "[inference]\npercentile = 94\n")
    (threshold,) = {result["threshold"] for result in results}
    assert [result["anomaly"] for result in results] == [result["score"] > threshold for result in results]
    fault = BEGIN + (SAMPLES - FAULTY) / RATE
    assert {result["anomaly"] for result in results if result["time"] > fault} == {True}
    assert sum(result["anomaly"] for result in results if result["time"] < fault) < len(results) // 3
    assert results[-1]["time"] == pytest.approx(BEGIN + (SAMPLES - 1) / RATE)
    assert all("dated" not in result for result in results)
    assert {**results[-1], "count": len(results)} == status["inference"]
    assert "ANOMALY, score " in lines[-1]
    assert lines[-1].startswith("2024-0")
    assert "normal, score " in lines[0]
    json.loads((programs.home / "peers" / "agent" / "status.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("more", "samples", "why"),
    [
        ("holdout = 0.0\n", SAMPLES, "no rows are held out: source.holdout"),
        ("", 400, "23 rows are held out, and a threshold needs 100"),
    ],
)
def test_without_enough_held_out_rows_there_is_no_decision_and_no_date_without_one(
    programs: Programs, more: str, samples: int, why: str
) -> None:
    results, status, lines = judge(programs, False, more, samples)
    for result in [*results, status["inference"]]:
        assert (result["threshold"], result["anomaly"], result["no_threshold"]) == (None, None, why)
        assert result["dated"] is False
    assert results[-1]["time"] == pytest.approx((samples - 1) / RATE)
    assert lines[-1].endswith(f"no threshold: {why}")
    assert "s (undated)  score " in lines[-1]
