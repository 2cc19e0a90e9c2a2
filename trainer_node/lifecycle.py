"""Start, find and stop a trainer in the background: a process of this program, or systemd's unit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from learnae.adapters.local.lock import holder
from learnae.errors import ConfigurationError, InUseError, LearnaeError, StateError
from learnae.system.atomic_files import writing
from learnae.system.backoff import wait_until
from learnae.system.logs import FILE_VARIABLE, OLDER, make_room
from learnae.system.paths import LOCK_FILE, LOG_FILE, STATUS_FILE, why_peer_unwritable
from learnae.system.private_files import make_private
from learnae.system.service import EXIT_CONFIGURATION

UNIT = "trainer-node.service"
_BOOTED = Path("/run/systemd/system")  # sd_booted(3)
RUNNING, STOPPED, UNKNOWN = 0, 3, 4  # LSB: exit statuses of `status`
_START_SECONDS = 60.0  # a large dataset is read before the first tick


def has_unit() -> bool:
    """Return True if systemd runs here and knows the trainer's unit."""
    if not _BOOTED.is_dir() or shutil.which("systemctl") is None:
        return False
    return subprocess.run(["systemctl", "cat", UNIT], capture_output=True, check=False).returncode == 0


def systemctl(verb: str) -> int:
    """Run ``systemctl verb`` on the unit; return its exit status."""
    return subprocess.run(["systemctl", verb, UNIT], check=False).returncode


def unit_status() -> tuple[int, dict[str, Any]]:
    """Return RUNNING, STOPPED or UNKNOWN, and what systemd knows of the unit."""
    properties = {"ActiveState": "unit", "Result": "result", "NRestarts": "restarts", "StatusText": "status"}
    command = ["systemctl", "show", UNIT, "--property", ",".join(["MainPID", *properties])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    code = {"active": RUNNING, "reloading": RUNNING, "inactive": STOPPED, "failed": STOPPED}.get(
        shown.get("ActiveState", ""), UNKNOWN
    )
    said = {name: shown[key] for key, name in properties.items() if shown.get(key)}
    return code, {"process": int(shown.get("MainPID", 0)) or None, **said}


def journal(lines: int, follow: bool) -> int:
    """Print the unit's log; return journalctl's exit status."""
    command = ["journalctl", "--unit", UNIT, "--lines", str(lines), *(["--follow"] if follow else [])]
    return subprocess.run(command, check=False).returncode


def detach(arguments: Sequence[str], directory: Path, seconds: float = _START_SECONDS) -> int:
    """Start ``trainer-node`` with ``arguments`` in the background; return its process id once it works.

    Raises InUseError if another process holds the lock, also if it was only a little faster. With the last line of the
    trainer's log, raises ConfigurationError if it ended because of its configuration, and StateError if it ended
    otherwise or does not work after ``seconds``.
    """
    lock = directory / LOCK_FILE
    if (running := holder(lock)) is not None:
        raise InUseError(
            f"{directory.name} is running as process {running}",
            f"stop it first: trainer-node stop --name {directory.name}",
        )
    with writing(directory):
        make_private(directory)
        make_room(directory / LOG_FILE)
    begun = time.time()
    with (directory / LOG_FILE).open("ab") as log:
        said = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer_node", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, FILE_VARIABLE: str(directory / LOG_FILE)},
        )
    status = directory / STATUS_FILE

    def works() -> bool:
        if process.poll() is not None:
            return True
        return holder(lock) == process.pid and status.exists() and status.stat().st_mtime >= begun

    in_time = wait_until(works, seconds)
    if (ended := process.poll()) is not None:
        raise _why_ended(ended, directory, said, holder(lock) is not None)
    if not in_time:
        raise StateError(
            f"process {process.pid} is not at work after {seconds:.0f} s, and goes on starting",
            f"see trainer-node status --name {directory.name}, and {directory / LOG_FILE}",
        )
    return process.pid


def _why_ended(status: int, directory: Path, since: int, is_taken: bool) -> LearnaeError:
    """Return the error that a trainer in the background ended with: the last line of its log from byte ``since`` on."""
    with (directory / LOG_FILE).open("rb") as log:
        log.seek(since if since <= os.fstat(log.fileno()).st_size else 0)  # else another file has begun
        last = b"".join(deque(log, 1)).decode(errors="replace").rstrip().removeprefix("trainer-node: ")
    why = signal.Signals(-status).name if status < 0 else last or "it has said nothing: is the disk full?"
    wrong: type[LearnaeError] = ConfigurationError if status == EXIT_CONFIGURATION else StateError
    return (InUseError if is_taken else wrong)(f"the trainer did not start: {why}", f"see {directory / LOG_FILE}")


def status(directory: Path) -> tuple[int, dict[str, Any]]:
    """Return RUNNING, STOPPED or UNKNOWN, and the status that the trainer last wrote."""
    try:
        said = json.loads((directory / STATUS_FILE).read_text())
    except FileNotFoundError:
        said = {}
    except OSError as error:
        return UNKNOWN, {"error": str(error)}
    except ValueError as error:
        return UNKNOWN, {"error": f"{directory / STATUS_FILE} is no JSON: {error}"}
    if not isinstance(said, dict):
        return UNKNOWN, {"error": f"{directory / STATUS_FILE} is no JSON object"}
    process = holder(directory / LOCK_FILE)
    if why := why_peer_unwritable(directory):  # then it could not say so in its status
        said = {**said, "disk": f"nothing can be saved or published: {why}"}
    return (STOPPED if process is None else RUNNING), {"process": process, **said}


def last_lines(directory: Path, count: int) -> str:
    """Return the last ``count`` lines of the log file, and the one before; raises StateError without one."""
    try:
        with (directory / LOG_FILE).open(errors="replace") as file:
            lines = deque(_older_lines(directory), count)
            lines.extend(file)
            return "".join(lines).rstrip()
    except OSError as error:
        raise StateError(f"no log at {directory / LOG_FILE}: {error.strerror}", "start it with --detach") from error


def _older_lines(directory: Path) -> list[str]:
    try:
        with (directory / (LOG_FILE + OLDER)).open(errors="replace") as file:
            return file.readlines()
    except FileNotFoundError:
        return []


def follow(directory: Path, count: int) -> NoReturn:
    """Become ``tail``, which prints the end of the log file and each new line."""
    last_lines(directory, 0)  # raises without a log
    os.execvp("tail", ["tail", f"--lines={count}", "--follow=name", "--retry", str(directory / LOG_FILE)])  # noqa: S606 - no shell is wanted
