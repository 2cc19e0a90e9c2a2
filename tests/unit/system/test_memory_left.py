"""What a control group leaves of the machine's memory: either version, nested, in a namespace, without limits."""

from pathlib import Path

import pytest

from learnae.basics.memory import Group, available, groups_of

V1, V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


def mib(number: float) -> str:
    return f"{int(number * (1 << 20))}\n"


def group(directory: Path, names: tuple[str, str], limit: str, used: float, inactive: float = 0.0) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / names[0]).write_text(limit)
    (directory / names[1]).write_text(mib(used))
    stat = f"anon 1\ninactive_file {mib(inactive if names is V2 else 0)}"
    (directory / "memory.stat").write_text(stat + (f"total_inactive_file {mib(inactive)}" if names is V1 else ""))


def proc(root: Path, memberships: str, mounts: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(memberships)
    (root / "proc/self/mountinfo").write_text(mounts)
    (root / "proc/meminfo").write_text("MemTotal: 900000 kB\nMemAvailable:     512000 kB\n")
    return root / "proc"


def left(machine: Path) -> float | None:
    return available(machine / "meminfo", groups_of(machine))


def machine_of(root: Path, version: int, membership: str, top: str = "/") -> tuple[Path, Path, tuple[str, str]]:
    """Return /proc, the mount's directory, and the names of its files; the mount's top is the group ``top``."""
    if version == 2:
        mount = root / "cg"
        line = f"30 23 0:26 {top} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
        return proc(root, f"0::{membership}\n", line), mount, V2
    mount = root / "cg"
    lines = (
        f"31 23 0:27 / {root}/unified rw - cgroup2 cgroup2 rw\n"
        f"32 23 0:28 / {root}/cpu rw - cgroup cgroup rw,cpu\n"
        f"33 23 0:29 {top} {mount} rw - cgroup cgroup rw,memory\n"
    )
    return proc(root, f"5:cpu:/x\n4:memory,hugetlb:{membership}\n0::/\n", lines), mount, V1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 500.0),
        ({"a/b": (100, 40, 0)}, 60.0),
        ({"a/b": (100, 40, 30)}, 90.0),  # what was read from files is given back
        ({"a/b": (400, 40, 0), "a": (200, 150, 10)}, 60.0),
        ({"a/b": (100, 140, 0)}, 0.0),
        ({"a/b": (4000, 40, 0)}, 500.0),
        ({"a/b": (None, 40, 0), "": (100, 20, 0)}, 80.0),
    ],
)
def test_the_least_of_the_machine_and_the_groups_is_left(
    tmp_path: Path, version: int, limits: dict[str, tuple[float | None, float, float]], expected: float
) -> None:
    machine, mount, names = machine_of(tmp_path, version, "/a/b")
    unlimited = "max\n" if version == 2 else "9223372036854771712\n"
    for path, (limit, used, inactive) in limits.items():
        group(mount / path, names, unlimited if limit is None else mib(limit), used, inactive)
    assert left(machine) == pytest.approx(expected)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("membership", "top"),
    [("/docker/abc", "/docker/abc"), ("/", "/"), ("/../../other", "/"), ("/elsewhere", "/docker/abc")],
)
def test_in_a_container_the_mounts_top_is_its_group(tmp_path: Path, version: int, membership: str, top: str) -> None:
    machine, mount, names = machine_of(tmp_path, version, membership, top)
    group(mount, names, mib(100), 30)
    group(tmp_path, names, mib(10), 9)  # outside of the mount
    assert left(machine) == pytest.approx(70.0)


@pytest.mark.parametrize("text", ["", "nonsense\n", "-1\n", "max\n", "1e9\n"])
def test_a_group_that_does_not_say_a_limit_has_none(tmp_path: Path, text: str) -> None:
    group(tmp_path, V2, text, 30)
    assert Group(tmp_path, *V2).left() is None
    assert Group(tmp_path / "absent", *V2).left() is None


@pytest.mark.parametrize("mounts", ["", "x\n", "1 2 3 - cgroup2\n", "30 23 0:26 / /a\\040b rw - cgroup2 none rw\n"])
def test_a_strange_proc_is_no_error(tmp_path: Path, mounts: str) -> None:
    assert left(proc(tmp_path, "0::/\n7\n", mounts)) == pytest.approx(500.0)
    assert available(tmp_path / "absent", groups_of(tmp_path / "absent")) is None
