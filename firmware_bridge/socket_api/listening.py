"""Taking the path of a Unix socket: at most one bridge listens there, whatever a killed one left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from learnae.errors import ConfigurationError, StateError

_LOCK_ATTEMPTS, _LOCK_SECONDS = 100, 0.02  # a bridge that begins to listen has the directory for an instant
_MAX_PATH_BYTES = 107  # sockaddr_un.sun_path without its final zero


def listen(path: Path, mode: int, group: str) -> socket.socket:
    """Listen at ``path``; raises StateError if another bridge does, ConfigurationError if none can."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise ConfigurationError(f"{path} is too long for a socket", f"choose one of at most {_MAX_PATH_BYTES} bytes")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _remove_stale(path)
            previous = os.umask(0o777 & ~mode)  # no agent may connect before the mode is right
            try:
                listening.bind(os.fspath(path))
            finally:
                os.umask(previous)
            if group:
                shutil.chown(path, group=group)
            listening.listen()
            listening.setblocking(False)
    except (OSError, LookupError) as error:
        listening.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise StateError(f"{path} is in use", "stop the other bridge, or set bridge.socket") from error
        raise ConfigurationError(f"cannot listen at {path}: {error}", "choose another bridge.socket") from error
    except BaseException:
        listening.close()
        raise
    return listening


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lock out other bridges that begin: to them, a socket that does not listen yet is stale. Raises StateError."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        for _ in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_SECONDS)
        else:
            raise StateError(f"another bridge begins to listen at {path}", "stop it, or set bridge.socket")
        yield
    finally:
        os.close(directory)


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed bridge left behind; raises StateError if a bridge answers."""
    if not path.is_socket():
        return  # whatever else is there, bind says so
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # it listens, and is too busy to accept another connection
    raise StateError(f"another bridge listens at {path}", "stop it, or set bridge.socket")
