"""Write files atomically: whole or not at all, also when the power fails."""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from learnae.errors import ConfigurationError, NotWrittenError
from learnae.system.private_files import make_directory

TEMPORARY = ".tmp-"  # prefix of files that a killed process may leave behind
_LEFTOVER_SECONDS = 3600  # no write takes this long


class Disk:
    """The calls with which files reach a disk, each as the operating system has it; raise OSError.

    A simulated disk has others, that lose at a power cut what no ``sync`` has waited for.
    """

    def create(self, path: Path, mode: int) -> int:
        """Return a descriptor of a new file."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all of ``data``."""
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def sync(self, descriptor: int) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file; one that was at ``target`` is gone."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; raises FileExistsError."""
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Delete a name."""
        os.unlink(path)

    def sync_directory(self, directory: Path) -> None:
        """Wait until the names in a directory are on the disk."""
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_disk = ContextVar("disk", default=Disk())  # noqa: B039 - it has no state


@contextmanager
def writing_to(disk: Disk) -> Iterator[None]:
    """Let all that is written here go to ``disk`` within: a simulated one."""
    before = _disk.set(disk)
    try:
        yield
    finally:
        _disk.reset(before)


def write_atomic(path: Path, *data: bytes | memoryview, mode: int = 0o644, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` through a temporary file and a rename; raises NotWrittenError.

    Pieces are written one after another. ``durable`` also waits for the disk: not needed for what can be made again.
    """
    with writing(path):
        temporary = _write_temporary(path, data, mode, durable)
        _disk.get().replace(temporary, path)
        if durable:
            _disk.get().sync_directory(path.parent)


def wait_for(path: Path) -> None:
    """Wait until the file that is at ``path``, written atomically, is on the disk; raises NotWrittenError."""
    with writing(path):
        _disk.get().sync_directory(path.parent)


def check_target(path: Path, suffixes: Iterable[str], hint: str = "") -> None:
    """Raise ConfigurationError unless a requested file has one of ``suffixes`` and an existing directory."""
    if path.suffix not in suffixes:
        raise ConfigurationError(f"cannot write {path}", f"end its name with {' or '.join(suffixes)}{hint}")
    if not path.resolve().parent.is_dir():
        raise ConfigurationError(f"cannot write {path}", "there is no such directory")


def create_once(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """Create ``path`` with ``data``; return False if another process has: its file stays. Raises NotWrittenError."""
    disk = _disk.get()
    with writing(path):
        make_directory(path.parent)
        temporary = _write_temporary(path, [data], mode, durable=True)
        try:
            disk.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            disk.unlink(temporary)
        disk.sync_directory(path.parent)
    return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError within into a NotWrittenError that names ``path``."""
    try:
        yield
    except OSError as error:
        remedy = "free some space, or check owner and permissions"
        raise NotWrittenError(f"cannot write {path}: {error.strerror or error}", remedy) from error


def why_unwritable(directory: Path, size: int = 0) -> str:
    """Return why no file of ``size`` bytes can be written to ``directory``; empty if statvfs and access allow it."""
    try:
        disk = os.statvfs(directory)
    except OSError as error:
        return str(error.strerror)
    if disk.f_flag & os.ST_RDONLY:
        return "the file system is read-only"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "permission denied"
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free <= size:  # a file system without blocks reports no free space
        return f"no space left: {free:,} bytes are free, {size:,} are needed"
    return ""


def is_there(path: Path) -> bool:
    """Return True if a file exists, or may not be looked at: opening it says so. (Path.exists raises.)"""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def remove_leftovers(directory: Path, older_than: float) -> int:
    """Delete temporary files last changed before ``older_than`` (Unix seconds); return how many."""
    removed = 0
    for entry in os.scandir(directory):
        try:
            if entry.name.startswith(TEMPORARY) and entry.stat().st_mtime < older_than:
                os.unlink(entry.path)
                removed += 1
        except FileNotFoundError:  # its owner has renamed it, or another process has removed it
            continue
    return removed


def open_regular(path: str | Path, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading; raises OSError, also for pipes, directories, and links unless to ``follow``."""
    flags = os.O_RDONLY | os.O_NONBLOCK  # a pipe without a writer must not block
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)  # fdopen would refuse a directory and leave it open
        number, why = (errno.EISDIR, os.strerror(errno.EISDIR)) if stat.S_ISDIR(mode) else (errno.EINVAL, "not a file")
        raise OSError(number, why)
    return os.fdopen(descriptor, "rb")


def read_regular(path: str | Path, limit: int, follow: bool = True) -> bytes:
    """Return at most ``limit`` + 1 bytes of a regular file; raises OSError as ``open_regular`` does."""
    with open_regular(path, follow) as file:
        return file.read(limit + 1)


def _write_temporary(path: Path, data: Iterable[bytes | memoryview], mode: int, durable: bool) -> Path:
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    disk = _disk.get()
    descriptor = disk.create(temporary, mode)
    try:
        try:
            if not mode & 0o077:
                os.fchmod(descriptor, mode)  # the umask may have left less
            for piece in data:
                disk.write(descriptor, piece)
            if durable:
                disk.sync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        disk.unlink(temporary)  # a full disk must not fill up with partial files
        raise
    return temporary


def tidy(directory: Path) -> None:
    """Remove temporary files that a killed process left in ``directory`` an hour ago or earlier."""
    with suppress(OSError):  # no directory, or files that only their owner may remove
        remove_leftovers(directory, time.time() - _LEFTOVER_SECONDS)
