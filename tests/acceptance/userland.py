"""An arm64 Debian in a directory; its programs run under QEMU's user mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = [sys.executable, str(Path(__file__).parent / "foreign.py")]


def run(command: list[object], seconds: float = 600, **environment: str) -> str:
    """What ``command`` prints; it must succeed."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


class Userland:
    """Programs of the arm64 Debian in ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, seconds: float = 600) -> str:
        """What a shell in it prints; it must succeed."""
        inside = (
            'mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"; '
            "exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
            'chroot "$0" sh -ec "$1"'
        )
        return run([*FOREIGN, "sh", "-ec", inside, self.root, command], seconds)
