"""One measurement in a process of its own: ``python worker.py NAME steps|epoch SIZE``; prints JSON.

A script and no part of its package, which would import more than what is measured.
"""

from __future__ import annotations

import sys
import time

_BEGUN = time.perf_counter()  # before any import that is measured

import importlib  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

ROWS = 10_000  # as many as an agent keeps
REPEATS = 3


def main(name: str, what: str, size: int) -> dict[str, Any]:
    """Measure the contestant ``name``: ``size`` steps, or one epoch of ``size`` rows."""
    return steps(name, size) if what == "steps" else epoch(name, size)


def steps(name: str, count: int) -> dict[str, Any]:
    """Microseconds a step at both batch sizes, seconds to import and build, peak memory in MB."""
    contestants: Any = importlib.import_module("contestants")
    imported = time.perf_counter() - _BEGUN
    result: dict[str, Any] = {}
    data = some_rows(ROWS)
    for batch in (32, 128):
        begun = time.perf_counter()
        contestant = contestants.CONTESTANTS[name](data, batch)
        imported += time.perf_counter() - begun if batch == 32 else 0.0
        contestant.train(count)  # compiles, and fills caches
        result[f"step_{batch}"] = min(timed(contestant.train, count) for _ in range(REPEATS)) / count * 1e6
    return {**result, "import": imported, "rss": peak_megabytes(), "device": contestant.device}


def epoch(name: str, rows: int) -> dict[str, Any]:
    """Rows a second over one epoch in batches of 1,024, after one that compiles."""
    contestants: Any = importlib.import_module("contestants")
    batch = 1024
    contestant = contestants.CONTESTANTS[name](some_rows(rows), batch)
    count = max(rows // batch, 1)
    contestant.train(count)
    seconds = min(timed(contestant.train, count) for _ in range(3))
    return {"rows_per_second": count * batch / seconds, "device": contestant.device}


def some_rows(count: int) -> Any:
    """Random rows of which the first value decides the class."""
    numpy: Any = importlib.import_module("numpy")
    dataset: Any = importlib.import_module("learnae.models.dataset")
    manifest = importlib.import_module("contestants").MANIFEST
    rows = numpy.random.default_rng(1).standard_normal((count, 27), dtype=numpy.float32)
    data = dataset.Dataset(manifest.model, manifest.objective)
    data.adopt(rows, (rows[:, :1] > 0).astype(numpy.float32))
    return data


def timed(train: Any, count: int) -> float:
    """Seconds that ``count`` steps take."""
    begun = time.perf_counter()
    train(count)
    return time.perf_counter() - begun


def peak_megabytes() -> float:
    """The most memory that this process has had; getrusage would count its parent's too."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
