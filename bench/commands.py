"""The programs answer at once: what a person waits for is imports, and those are counted here.

Held against the bound is the time of the processor, which another load on the machine does not change: on a quiet one
it is what a person waits.
"""

import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from statistics import median

from bench.harness import AT_MOST, Race, interleaved

_MOST_SECONDS = 0.6
_SHOWN = 3  # of the imports that take longest
_COMMANDS = (  # module, arguments
    ("learnae", "--help"),
    ("learnae", "swarm create --help"),
    ("learnae", "peers"),
    ("learnae", "log"),
    ("learnae", "versions"),
    ("agent", "--help"),
    ("agent", "results"),
    ("trainer_node", "--help"),
    ("trainer_node", "status"),
    ("firmware_bridge", "--help"),
    ("firmware_bridge", "list"),
)


def run(race: Race) -> None:
    """Time each command in processes of its own, in turn, in a home with one swarm."""
    with tempfile.TemporaryDirectory() as home:
        own = {"LEARNAE_HOME": home, "XDG_CONFIG_HOME": home, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment = {**os.environ, **own}
        _finish(environment, "learnae", "swarm create --preset wrist")
        repeats = 2 if race.quick else 9
        with race.step(f"{len(_COMMANDS)} commands, {repeats} times each"):
            times = interleaved(repeats, *(partial(_processor_seconds, environment, *command) for command in _COMMANDS))
        for command, seconds in zip(_COMMANDS, times, strict=True):
            name, note = " ".join(command), f"median of {repeats}; best {min(seconds):.2f} s"
            race.check(name, median(seconds), _MOST_SECONDS, AT_MOST, "s", note)
            for module, own_seconds in _slowest_imports(environment, *command):
                race.figure(f"{name}: import of {module}", own_seconds, "s")


def _processor_seconds(environment: dict[str, str], module: str, arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _finish(environment, module, arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _slowest_imports(environment: dict[str, str], module: str, arguments: str) -> list[tuple[str, float]]:
    """Return the modules that take longest by themselves, in seconds."""
    said = _finish({**environment, "PYTHONPROFILEIMPORTTIME": "1"}, module, arguments)
    rows = [line.split("|") for line in said.splitlines() if line.startswith("import time:") and "[us]" not in line]
    found = sorted(
        ((float(own.removeprefix("import time:")) / 1e6, name.strip()) for own, _, name in rows), reverse=True
    )
    return [(name, seconds) for seconds, name in found[:_SHOWN]]


def _finish(environment: dict[str, str], module: str, arguments: str) -> str:
    """Run ``python -m module`` to its end and return its standard error."""
    command = [sys.executable, "-m", module, *arguments.split()]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr
