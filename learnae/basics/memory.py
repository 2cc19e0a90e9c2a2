"""How much memory this process may still take: the machine's, or what a control group leaves of it.

In a container, and below a unit's ``MemoryMax``, the kernel ends a process that takes more than its group has, however
much the machine has left (Documentation/admin-guide/cgroup-v2 and cgroup-v1/memory of the kernel).
"""

import re
import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import cast

_PROC = Path("/proc")
_MIB = 1 << 20
_NO_LIMIT = 1 << 60  # version 1 says the largest number of pages; version 2 says "max"
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_ESCAPE = re.compile(r"\\([0-7]{3})")  # of blanks, in mountinfo
_V1, _V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")
# pages of files that were read once: taken back before a process is ended for want of memory
_RECLAIMABLE = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Group:
    """A control ``directory``, and what its files are called."""

    directory: Path
    limit: str
    usage: str

    def left(self) -> float | None:
        """Return the MiB that its members may still take together; None if it has no limit."""
        try:
            limit = (self.directory / self.limit).read_text().strip()
            if not limit.isdecimal() or int(limit) >= _NO_LIMIT:
                return None
            used = int((self.directory / self.usage).read_text())
            found = _RECLAIMABLE.findall((self.directory / "memory.stat").read_text())
        except (OSError, ValueError):
            return None
        return max(0, int(limit) - used + int(found[-1] if found else 0)) / _MIB


def groups_of(proc: Path = _PROC) -> list[Group]:
    """Return the groups of this process, each with those above it, of whichever version the memory controller is."""
    try:
        memberships = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
        mounts = list(_mounts((proc / "self/mountinfo").read_text()))
    except OSError:
        return []
    found = []
    for _, controllers, path in (parts for parts in memberships if len(parts) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        kind, names = ("cgroup", _V1) if controllers else ("cgroup2", _V2)
        for root, point, options in (mount[1:] for mount in mounts if mount[0] == kind):
            if kind == "cgroup2" or "memory" in options:
                found += [Group(directory, *names) for directory in _upwards(point, root, path)]
    return found


def _mounts(text: str) -> Iterator[tuple[str, str, Path, list[str]]]:
    """Yield kind, root, mount point and the file system's options, of lines as proc_pid_mountinfo(5) has them."""
    for line in text.splitlines():
        fields, separator, rest = line.partition(" - ")
        words, described = fields.split(), rest.split()
        if separator and len(words) > 4 and len(described) > 2:
            root, point = (_ESCAPE.sub(lambda found: chr(int(found[1], 8)), word) for word in words[3:5])
            yield described[0], root, Path(point), described[2].split(",")


def _upwards(point: Path, root: str, path: str) -> Iterator[Path]:
    """Yield the directory of the group ``path`` and those above it, in a mount whose top is the group ``root``."""
    inside = PurePosixPath(path)
    below = inside.relative_to(root) if inside.is_relative_to(root) and ".." not in inside.parts else PurePosixPath()
    yield from (point / each for each in (below, *below.parents))


def memory_left() -> float | None:
    """Return the MiB that this process may still take here; None if nothing tells."""
    return available(_PROC / "meminfo", groups_of())


def available(meminfo: Path, groups: Sequence[Group]) -> float | None:
    """Return the MiB that this process may still take: of the machine, its groups and ``ulimit -v``; None unknown."""
    known = [left for group in groups if (left := group.left()) is not None]
    known += _left_of_limit()
    try:
        if found := _AVAILABLE.search(meminfo.read_text()):
            known.append(int(found[1]) / 1024)
    except OSError:
        pass
    return min(known, default=None)


def _left_of_limit() -> list[float]:
    """Return the MiB that are left of this process' own limit, if it has one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    try:
        pages = int((_PROC / "self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return []
    return [max(0, limit - pages * resource.getpagesize()) / _MIB]


def keep_freed(size: int) -> None:
    """Let memory of up to ``size`` bytes be used again when it was freed, in place of fresh pages each time.

    GNU's allocator does so up to 128 KiB, and then up to the largest block that it has seen freed (mallopt(3)).
    """
    bytearray(size)


def give_back() -> None:
    """Give freed memory back to the system: GNU's allocator holds on to vectors of up to 32 MiB, and to what a start
    has needed."""
    _trimmer()(0)


@cache
def _trimmer() -> Callable[[int], object]:
    import ctypes  # noqa: PLC0415 - numpy loads it anyhow

    try:
        return cast(Callable[[int], object], ctypes.CDLL(None).malloc_trim)
    except (OSError, AttributeError):  # another allocator
        return lambda _: None
