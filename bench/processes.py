"""What several races need of other processes: ports, patience, processor time, memory, a broker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port of loopback that no process listens on just now."""
    with socket.create_server((HOST, 0)) as found:
        return int(found.getsockname()[1])


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


def mosquitto() -> str | None:
    """Return where Mosquitto is, None if it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@contextmanager
def broker(program: str, directory: Path) -> Iterator[str]:
    """Run a Mosquitto on loopback that publishes its counters every second; give its URL."""
    port, config = free_port(), directory / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(f"{user}listener {port} {HOST}\nallow_anonymous true\nsys_interval 1\nlog_type error\n")
    with (directory / "broker.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdin=subprocess.DEVNULL, stderr=log)
    try:
        yield f"mqtt://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(60)
