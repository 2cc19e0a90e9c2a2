"""Runs a command where arm64 programs run as well, by QEMU's user mode; this machine's own settings stay as they are.

Since Linux 6.7 every user namespace has its own binfmt_misc. Needs root and qemu-user-static::

    python tests/acceptance/foreign.py COMMAND ARGUMENT...
"""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

EMULATOR = "/usr/bin/qemu-aarch64-static"
_NEWNS, _NEWUSER, _NEWPID = 0x20000, 0x10000000, 0x20000000  # clone(2)
_PRIVATE = 0x44000  # MS_REC | MS_PRIVATE
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_USERS = 65_536
_BINFMT = Path("/proc/sys/fs/binfmt_misc/register")

_libc = ctypes.CDLL(None, use_errno=True)


def main(command: list[str]) -> int:
    """Runs ``command``; returns its exit status."""
    apart, mapped = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        _check(_libc.unshare(_NEWUSER | _NEWNS | _NEWPID))
        os.write(apart[1], b".")
        os.read(mapped[0], 1)
        os.setgid(0)
        os.setuid(0)
        if (first := os.fork()) == 0:
            _run(command)
        os._exit(_status(first))
    os.read(apart[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(f"0 0 {_USERS}\n")
    os.write(mapped[1], b".")
    return _status(child)


def _run(command: list[str]) -> NoReturn:
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    _check(_libc.mount(b"none", b"/", None, _PRIVATE, None))
    for kind, place in ((b"proc", b"/proc"), (b"binfmt_misc", bytes(_BINFMT.parent))):
        _check(_libc.mount(kind, place, kind, 0, None))
    # ELF, 64 bit, little-endian, executable or shared, machine 183; F: the emulator is opened now, outside any root
    magic = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    _BINFMT.write_text(f":aarch64:M::{_hex(magic)}:{_hex(mask)}:{EMULATOR}:FP")
    os.execvp(command[0], command)


def _hex(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _status(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 0xFF


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
