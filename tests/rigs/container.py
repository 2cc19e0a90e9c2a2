"""A real systemd as process 1 of a container: no emulation, no network but loopback, nothing of this machine changed.

The root is scripts/debian-root under an overlay that ends with the container. Killing it is a power cut.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from programs import PATIENCE, Finished, finish, succeed, wait_for

ROOT = Path(__file__).parents[2]
_CGROUPS = Path("/sys/fs/cgroup")
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
# they look for a network or for a person
_MASKED = ("systemd-networkd.service", "systemd-networkd.socket", "console-getty.service", "getty.target")


def debian_root() -> Path:
    """Made at first, then found."""
    return Path(succeed(ROOT / "scripts" / "debian-root", timeout=None).stdout.strip())


def mount_overlay(directory: Path, lower: object) -> Path:
    """Let ``directory``/root show ``lower``, and take changes."""
    root, upper, work = (directory / name for name in ("root", "upper", "work"))
    for each in (root, upper, work):
        each.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    return root


class Container:
    """A context manager; what is in ``root`` before ``boot`` is there afterwards."""

    def __init__(self, directory: Path) -> None:
        self.name = f"learnae-{os.getpid()}"
        self._directory = directory
        self.root = directory / "root"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Container:
        mount_overlay(self._directory, debian_root())
        for unit in _MASKED:
            (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        subprocess.run(["umount", self.root], check=True)
        for cgroup in self._cgroups():
            for path in sorted(cgroup.rglob("*/"), reverse=True):
                with suppress(OSError):
                    path.rmdir()
            with suppress(OSError):
                cgroup.rmdir()

    def before_boot(self, command: str, seconds: float = 4 * PATIENCE) -> str:
        """Return what a shell in the root prints while nothing runs in it."""
        return succeed("chroot", self.root, "sh", "-c", command, env=_ENVIRONMENT, timeout=seconds).stdout

    def boot(self) -> None:
        """Start process 1, and return when its units have been started."""
        enter = "; ".join(f"echo $$ > {shlex.quote(str(path))}/cgroup.procs" for path in self._cgroups())
        for cgroup in self._cgroups():
            cgroup.mkdir(exist_ok=True)
        nspawn = (
            f"exec systemd-nspawn --quiet --boot --directory={self.root} --machine={self.name}"
            " --register=no --keep-unit --private-network --console=pipe --kill-signal=SIGRTMIN+3"
        )
        command = ["sh", "-c", f"{enter}; {nspawn}"]
        environment = {**os.environ, "UNIFIED_CGROUP_HIERARCHY": "1"}
        with (self._directory / "console").open("ab") as out:
            self._nspawn = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._init = wait_for(self._find_init, "process 1")
        wait_for(lambda: self.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), "the boot")

    def kill(self) -> None:
        """Cut the power: every process ends at once."""
        if self._nspawn is None:
            return
        for pid in (self._nspawn.pid, self._init):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._nspawn.wait()
        wait_for(lambda: not Path(f"/proc/{self._init}").exists(), "process 1 to end")
        self._nspawn = None

    def run(self, command: str, seconds: float = 2 * PATIENCE) -> Finished:
        """Run a shell command beside process 1."""
        return finish(*self._beside(command), timeout=seconds)

    def output(self, command: str, seconds: float = 2 * PATIENCE) -> str:
        """Return what a command prints that must succeed."""
        return succeed(*self._beside(command), env=_ENVIRONMENT, timeout=seconds).stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.output(f"systemctl show {unit} --property {name} --value")

    def journal(self, unit: str) -> str:
        """Return all that a unit has logged since the boot: also what the journal has been sent and not yet read."""
        return self.output(f"journalctl --sync && journalctl --unit {unit} --output cat --no-pager")

    def _beside(self, command: str) -> list[str]:
        return ["nsenter", "--target", str(self._init), "--all", "sh", "-c", command]

    def _find_init(self) -> int | None:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self._directory / "console").read_text(errors="replace")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for pid in children:
            with suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return int(pid)
        return None

    def _cgroups(self) -> list[Path]:
        """Cgroups of its own, in the hierarchy that systemd uses: one that is mixed, or version 2 alone."""
        mixed = [_CGROUPS / name for name in ("systemd", "unified") if (_CGROUPS / name).is_dir()]
        return [place / self.name for place in mixed or [_CGROUPS]]
