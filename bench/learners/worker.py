"""One measurement in a process of its own: ``python worker.py NAME WHAT SIZE``; prints JSON.

A script and no part of its package, which would import more than what is measured.
"""

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
# what an agent imports of others', and of the standard library
_DEPENDENCIES = (
    "numpy.random", "numpy.typing", "cryptography.exceptions", "cryptography.hazmat.primitives.serialization",
    "cryptography.hazmat.primitives.asymmetric.ed25519", "cbor2", "sqlite3", "argparse", "tomllib", "logging",
    "dataclasses", "flatbuffers",
)  # fmt: skip
_RUNTIMES = (("tflite_runtime.interpreter", "ai_edge_litert.interpreter"),)


def main(name: str, what: str, size: int) -> dict[str, Any]:
    """Measure the contestant ``name``: ``size`` steps, one epoch of ``size`` rows, memory or parity (0: quickly)."""
    kinds = {"steps": steps, "convolutions": convolutions, "epoch": epoch, "memory": memory, "parity": parity}
    return kinds[what](name, size)


def steps(name: str, count: int) -> dict[str, Any]:
    """Measure microseconds a step at both batch sizes, seconds to import and build, peak memory in MB."""
    contestants: Any = importlib.import_module("contestants")
    imported = time.perf_counter() - _BEGUN
    result: dict[str, Any] = {}
    swarm, data = some_rows(contestants.DENSE, ROWS)
    for batch in (32, 128):
        begun = time.perf_counter()
        contestant = contestants.CONTESTANTS[name](swarm, data, batch)
        imported += time.perf_counter() - begun if batch == 32 else 0.0
        result[f"step_{batch}"] = microseconds(contestant.train, count)
    return {**result, "import": imported, "rss": peak_megabytes(), "device": contestant.device}


def convolutions(name: str, count: int) -> dict[str, Any]:
    """Measure microseconds a step of the network on raw windows at batch 32."""
    contestants: Any = importlib.import_module("contestants")
    contestant = contestants.CONTESTANTS[name](*some_rows(contestants.CONVOLUTIONS, 3200), 32)
    return {"step": microseconds(contestant.train, count), "device": contestant.device}


def epoch(name: str, rows: int) -> dict[str, Any]:
    """Measure rows a second over one epoch in batches of 1,024, after one that compiles."""
    contestants: Any = importlib.import_module("contestants")
    batch = 1024
    contestant = contestants.CONTESTANTS[name](*some_rows(contestants.DENSE, rows), batch)
    count = max(rows // batch, 1)
    contestant.train(count)
    seconds = min(timed(contestant.train, count) for _ in range(3))
    return {"rows_per_second": count * batch / seconds, "device": contestant.device}


def memory(name: str, count: int) -> dict[str, Any]:
    """Measure MB that an agent takes above the imports of its dependencies while it trains ``count`` rows."""
    for module in (*_DEPENDENCIES, *map(first_of, _RUNTIMES)):
        importlib.import_module(module)
    before = peak_megabytes()
    contestants: Any = importlib.import_module("contestants")
    contestant = contestants.CONTESTANTS[name](*some_rows(contestants.DENSE, count), 32)
    contestant.train(500)
    return {"above": peak_megabytes() - before, "device": contestant.device}


def first_of(modules: tuple[str, ...]) -> str:
    """Return the first of these that is installed."""
    util: Any = importlib.import_module("importlib.util")
    return next(name for name in modules if util.find_spec(name.partition(".")[0]))


def parity(name: str, size: int) -> dict[str, Any]:
    """Return the largest differences from NumPy in float64, by optimiser and kind of batches."""
    module: Any = importlib.import_module("bench.learners.parity")
    return {"differences": module.parity(name, quick=size == 0)}


def some_rows(name: str, count: int) -> tuple[Any, Any]:
    """Return the preset ``name`` with random rows, of which the first value decides the class."""
    numpy: Any = importlib.import_module("numpy")
    dataset: Any = importlib.import_module("learnae.models.dataset")
    swarm = importlib.import_module("learnae.swarm.presets").preset(name, 0)
    shape = (count, *swarm.definition.input_shape)
    rows = numpy.random.default_rng(1).standard_normal(shape, dtype=numpy.float32)
    is_high = rows.reshape(count, -1)[:, 0] > 0
    targets = is_high[:, None].astype(numpy.float32) if swarm.loss == "binary_crossentropy" else is_high.astype(int)
    data = dataset.Dataset(swarm.model, swarm.objective)
    data.adopt(rows, targets)
    return swarm, data


def microseconds(train: Any, count: int) -> float:
    """Return what a step costs, of ``count``: the least of several times, after one that compiles and fills caches."""
    train(count)
    return min(timed(train, count) for _ in range(REPEATS)) / count * 1e6


def timed(train: Any, count: int) -> float:
    """Return the seconds that ``count`` steps take."""
    begun = time.perf_counter()
    train(count)
    return time.perf_counter() - begun


def peak_megabytes() -> float:
    """Return the most memory that this process has had; getrusage would count its parent's too."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
