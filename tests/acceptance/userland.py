"""An arm64 Debian in a directory; its programs run under QEMU's user mode."""

import os
import sys
from pathlib import Path

from programs import succeed

ROOT = Path(__file__).parents[2]
FOREIGN = [sys.executable, str(Path(__file__).parent / "foreign.py")]


def run(command: list[object], seconds: float = 600, **environment: str) -> str:
    """What ``command`` prints; it must succeed."""
    return succeed(*command, env={**os.environ, **environment}, timeout=seconds).stdout


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
