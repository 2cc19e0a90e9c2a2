"""One process a peer: a lock file."""

import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

from learnae.errors import InUseError, StateError

_ATTEMPT_SECONDS = 0.01
_ASKED_SECONDS = 10.0  # a process that asks for the holder shares the lock for an instant, if not stopped just then
_SAID_SECONDS = 10.0  # a holder writes its number at once, if it is not stopped just then


class Lock:
    """Allows one process a peer. The kernel releases the lock when its holder dies, however it dies.

    The holder's lock is exclusive; ``holder``, and a process that is about to take it, share it for an instant.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock; raises StateError if another process has it."""
        self._file = path.open("a+")
        try:
            self._take(path, time.monotonic() + _ASKED_SECONDS)
        except StateError:
            self._file.close()
            raise
        self._file.write(str(os.getpid()))
        self._file.flush()

    def _take(self, path: Path, deadline: float) -> None:
        while True:
            if not _try(self._file, fcntl.LOCK_SH):
                raise _in_use(path)
            self._file.truncate(0)  # no process has it: what is written there is the number of a dead one
            if _try(self._file, fcntl.LOCK_EX):
                return
            fcntl.flock(self._file, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise _in_use(path)
            time.sleep(_ATTEMPT_SECONDS)

    def release(self) -> None:
        """Let another process have it."""
        self._file.close()


def holder(path: Path, timeout: float = _SAID_SECONDS) -> int | None:
    """Return the number of the lock's holder, None without, 0 if it is not said in time; raises StateError."""
    deadline = time.monotonic() + timeout
    try:
        with path.open() as file:
            while not _try(file, fcntl.LOCK_SH):
                file.seek(0)
                text = file.read(20)
                if text.isdigit() or time.monotonic() > deadline:
                    return int(text) if text.isdigit() else 0
                time.sleep(_ATTEMPT_SECONDS)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "run it as the user it belongs to") from error
    return None


def _try(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _in_use(path: Path) -> StateError:
    return InUseError(
        f"{path.parent} is in use by process {holder(path) or '?'}", "stop that one, or choose another name"
    )
