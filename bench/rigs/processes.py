"""What several races need of other processes: patience, processor time, memory, a peer's status, real engines."""

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_RIGS = Path(__file__).parents[2] / "tests" / "rigs"


def wait_until(condition: Callable[[], object], seconds: float, what: str, look: float = 0.05) -> None:
    """Wait until ``condition`` holds, asked every ``look`` seconds; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}: see the machine's load")
        time.sleep(look)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process so far (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(file: str, name: str, pid: int | str = "self") -> float:
    """Return a figure of ``status`` or ``smaps_rollup`` of a process (proc(5)); NaN without it."""
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else float("nan")


def read_status(path: Path) -> dict[str, Any]:
    """Return a peer's newest status; empty before it has written any."""
    try:
        said: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return said


def broker(directory: Path) -> Any:
    """Return a Mosquitto on loopback, a context manager, that publishes its counters every second."""
    return rig("mosquitto").Mosquitto(directory, extra="sys_interval 1")


def rig(name: str) -> Any:
    """Import what tests, too, run real engines with."""
    if str(_RIGS) not in sys.path:
        sys.path.insert(0, str(_RIGS))
    return importlib.import_module(name)
