"""Why this process may not use a file: who may, and what would let it, looked up and not guessed."""

import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

_READ_WRITE, _ENTER = 0o6, 0o1


def why_denied(path: str | Path) -> tuple[str, str]:
    """Return who may read and write ``path`` now, and the remedy for this user, each as part of a line.

    A symbolic link counts as what it points to; a directory above it that may not be entered counts in its place.
    """
    real = Path(os.path.realpath(path))
    shut = [parent for parent in reversed(real.parents) if not os.access(parent, os.X_OK, effective_ids=True)]
    denied, needed = (shut[0], _ENTER) if shut else (real, _READ_WRITE)
    try:
        found = denied.stat()
    except OSError as error:
        return f"{denied}: {error.strerror}", "run it as the user it belongs to"
    owner, group, mode = _user(found.st_uid), _group(found.st_gid), stat.S_IMODE(found.st_mode)
    said = f"{denied} is of user {owner} and group {group}, mode {mode:04o}"
    if mode & (needed << 3) != needed << 3 or found.st_gid == 0:
        return said, _no_group(denied, found, owner)
    if found.st_gid in (os.getegid(), *os.getgroups()):
        return said, "this process is in that group: look for an access list (getfacl), or a security module's rule"
    if _is_named_in(found.st_gid):
        return said, f"this user is in group {group} since its last login: log in again, or restart the service"
    join = f"sudo usermod -aG {group} $USER, then log in again"
    if not _has_name(found.st_gid):
        join = f"sudo groupadd -g {group} NAME, sudo usermod -aG NAME $USER; for a container --group-add {group}"
    return (
        said,
        f"add this user to group {group} ({join}; for a service SupplementaryGroups={group}, by systemctl edit)",
    )


def _no_group(denied: Path, found: os.stat_result, owner: str) -> str:
    if stat.S_ISCHR(found.st_mode):
        rule = f'KERNEL=="{denied.name}", GROUP="dialout", MODE="0660"'
        return f"no group may use it: a udev rule gives it to one, such as dialout ({rule})"
    return f"no group may use it: run this as {owner}, or change its mode"


def _user(number: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def _group(number: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)


def _has_name(group: int) -> bool:
    return _group(group) != str(group)


def _is_named_in(group: int) -> bool:
    """Return True if the system's files say that this user is in the group, whatever this process was started with."""
    with suppress(KeyError):
        user = pwd.getpwuid(os.geteuid())
        return user.pw_gid == group or user.pw_name in grp.getgrgid(group).gr_mem
    return False
