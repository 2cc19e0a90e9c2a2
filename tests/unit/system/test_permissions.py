"""Why a file may not be used: the group that it really has, and what helps this user."""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from learnae.system.permissions import why_denied

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
USER = 65534
GROUPS = [group for group in grp.getgrall() if group.gr_gid not in (0, USER) and not group.gr_mem]
ONE, OTHER = GROUPS[1], GROUPS[2]
NAMELESS = 54321


@contextmanager
def as_user(groups: list[int]) -> Iterator[None]:
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(USER)
    os.seteuid(USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@pytest.fixture
def file(public_path: Path) -> Path:
    (public_path / "socket").touch()
    return public_path / "socket"


@pytest.mark.parametrize(
    ("group", "mode", "own", "words"),
    [
        (ONE.gr_gid, 0o660, [], f"sudo usermod -aG {ONE.gr_name} $USER, then log in again"),
        (ONE.gr_gid, 0o660, [], f"for a service SupplementaryGroups={ONE.gr_name}"),
        (OTHER.gr_gid, 0o660, [ONE.gr_gid], f"add this user to group {OTHER.gr_name}"),
        (ONE.gr_gid, 0o660, [ONE.gr_gid], "this process is in that group"),
        (NAMELESS, 0o660, [], f"--group-add {NAMELESS}"),
        (ONE.gr_gid, 0o640, [], "no group may use it: run this as root"),
        (0, 0o660, [], "no group may use it"),
    ],
)
def test_the_remedy_is_looked_up(file: Path, group: int, mode: int, own: list[int], words: str) -> None:
    os.chown(file, 0, group)
    file.chmod(mode)
    with as_user(own):
        said, remedy = why_denied(file)
    assert f"{file} is of user root and group " in said
    assert f"mode {mode:04o}" in said
    assert words in remedy


def test_a_link_counts_as_what_it_points_to_and_a_shut_directory_as_what_is_in_it(file: Path) -> None:
    shut = file.parent / "shut"
    shut.mkdir(mode=0o750)
    os.chown(shut, 0, ONE.gr_gid)
    (shut / "socket").touch(0o666)
    (file.parent / "link").symlink_to(shut / "socket")
    with as_user([]):
        said, remedy = why_denied(file.parent / "link")
    assert said == f"{shut} is of user root and group {ONE.gr_name}, mode 0750"
    assert f"usermod -aG {ONE.gr_name}" in remedy


def test_who_was_added_since_the_last_login_is_told_to_log_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = grp.struct_group((ONE.gr_name, "x", ONE.gr_gid, [pwd.getpwuid(USER).pw_name]))
    monkeypatch.setattr(grp, "getgrgid", lambda _: added)
    os.chown(file, 0, ONE.gr_gid)
    file.chmod(0o660)
    with as_user([]):
        assert "log in again, or restart the service" in why_denied(file)[1]
