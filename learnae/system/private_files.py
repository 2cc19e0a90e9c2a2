"""Files and directories that only their owner may use, and those that only their owner may change.

As ssh has it: what others could have changed is not trusted, and the error says what to type.
"""

import errno
import logging
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from learnae.errors import StateError

_log = logging.getLogger(__name__)

_FILE, _DIRECTORY = 0o600, 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_WHERE_MODES_MEAN_NOTHING = "keep it on a file system that has owners and modes, such as ext4"


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Make a directory, and those above it that are not there; whatever the umask, others cannot write to them.

    Raises OSError.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        os.mkdir(path, mode)
        made = stat.S_IMODE(path.stat().st_mode)
        if made & _DIRECTORY != _DIRECTORY:  # the umask has left less than we need ourselves
            path.chmod(made | _DIRECTORY)
    except FileExistsError:
        if not path.is_dir():  # else another process has just made it
            raise


def make_private(path: Path) -> None:
    """Make a directory that only its owner may use, or let one be so from now on, which is logged.

    Raises StateError if it is a link, another user's, or cannot be made so; OSError if it cannot be made at all.
    """
    if not os.path.islink(path):
        make_directory(path, _DIRECTORY)
    os.close(_opened(path, os.O_DIRECTORY, _DIRECTORY, None))


def read_private(path: Path, limit: int) -> bytes:
    """Return at most ``limit`` + 1 bytes of a file that only its owner may use; one that others may is made so, logged.

    Raises StateError if it or its directory is a link, or another user's; OSError as ``open`` does.
    """
    directory = _opened(path.parent, os.O_DIRECTORY, None, None)
    try:
        file = _opened(path, os.O_NONBLOCK, _FILE, directory)
    finally:
        os.close(directory)
    with os.fdopen(file, "rb") as opened:
        return opened.read(limit + 1)


def check_unwritable(*directories: Path) -> None:
    """Raise StateError that says what to type if any but its owner may write to one of these; those absent are none."""
    for directory in directories:
        try:
            mode = stat.S_IMODE(os.stat(directory).st_mode)
        except OSError:  # what uses it says so
            continue
        if mode & _OTHERS_WRITE:
            who = "every user" if mode & stat.S_IWOTH else "a group"
            problem = f"{who} of this machine may write to {directory} (mode {mode:04o}), and change what is kept there"
            raise StateError(problem, f"chmod go-w {shlex.quote(str(directory))}")


def _opened(path: Path, flags: int, mode: int | None, directory: int | None) -> int:
    """Return a descriptor of ``path``, in ``directory`` if that is given, which is no link, and has ``mode`` now."""
    named = path if directory is None else path.name
    try:
        descriptor = os.open(named, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.islink(path):
            remedy = f"put there what it points to, {os.path.realpath(path)}, or name that"
            raise StateError(f"{path} is a link, which keys are not read through", remedy) from error
        raise
    try:
        _check(path, descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, descriptor: int, mode: int | None) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a file")
    if stat.S_ISDIR(found.st_mode) and mode == _FILE:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if os.geteuid() not in (0, found.st_uid) and found.st_uid != 0:
        raise StateError(f"{path} is of user {_user(found.st_uid)}", f"sudo chown -R $USER {shlex.quote(str(path))}")
    before = stat.S_IMODE(found.st_mode)
    if mode is None or not before & 0o777 & ~mode:
        return
    with suppress(OSError):
        os.fchmod(descriptor, mode)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o777 & ~mode:
        raise StateError(f"{path} cannot be made private: its mode stays {before:04o}", _WHERE_MODES_MEAN_NOTHING)
    if before & 0o077:
        _log.warning("%s was open to other users (mode %04o), and is its owner's alone from now on", path, before)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
