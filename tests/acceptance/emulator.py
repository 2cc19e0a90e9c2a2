"""An emulated board: QEMU's arm64 ``virt`` machine with 512 MB, Debian's kernel, and a card that outlives power cuts.

Its only way out is one TCP port of this machine's loopback.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from programs import Finished, wait_for

MEGABYTES = 512
GATEWAY = "10.0.2.100"  # where the board finds the one port of this machine
_CARD = "3G"  # the file is sparse
_SECONDS = 300.0  # a boot under emulation, on a busy machine

# in the order of their dependencies; everything else that the board needs is built in
_MODULES = (
    *("drivers/virtio/virtio_ring", "drivers/virtio/virtio"),
    *("drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci"),
    *("drivers/block/virtio_blk", "drivers/char/virtio_console"),
    *("net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"),
)

_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc p /proc; /bin/busybox mount -t sysfs s /sys; /bin/busybox mount -t devtmpfs d /dev
for m in {modules}; do /bin/busybox insmod /$m.ko; done
while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox ip addr add 10.0.2.15/24 dev eth0; /bin/busybox ip link set eth0 up
/bin/busybox mount -t ext4 -o rw /dev/vda /new || exec /bin/busybox sh
for d in dev sys proc; do /bin/busybox mount --move /$d /new/$d; done
exec /bin/busybox switch_root /new /sbin/init
"""

# a shell for root at a port of its own, apart from the kernel's messages
_SHELL = """[Service]
ExecStart=/bin/sh -c 'stty -echo; exec /bin/sh'
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/hvc0
Environment=PS1= PS2= TERM=dumb
Restart=always
RestartSec=0
[Install]
WantedBy=multi-user.target
"""
_MASKED = (
    *("systemd-networkd.service", "systemd-networkd.socket", "getty@tty1.service", "serial-getty@ttyAMA0.service"),
    *("serial-getty@hvc0.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"),
)


def kernel() -> Path:
    """Debian's arm64 kernel with its modules and busybox, extracted once; nothing is installed or run."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "learnae" / "engines"
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    key = hashlib.sha256(b"linux-image-cloud-arm64" + sources.read_bytes()).hexdigest()[:12]
    directory = cache / f"kernel-arm64-{key}"
    if not directory.exists():
        new = directory.with_name(f"kernel-new.{os.getpid()}")
        subprocess.run(
            ["mmdebstrap", "--quiet", "--mode=root", "--skip=check/qemu", "--variant=extract", "--architectures=arm64",
             "--include=linux-image-cloud-arm64,busybox-static", "--aptopt=Apt::Install-Recommends false",
             "bookworm", new, sources],
            check=True,
        )  # fmt: skip
        new.rename(directory)
    return directory


def prepare(root: Path) -> None:
    """Put into a Debian root what this board needs besides Learnae."""
    units = root / "etc/systemd/system"
    (units / "console.service").write_text(_SHELL)
    subprocess.run(["systemctl", f"--root={root}", "enable", "--quiet", "console.service"], check=True)
    for name in _MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (root / "etc/hostname").write_text("board\n")
    (root / "etc/machine-id").write_text("")


class Board:
    """A context manager; ``start`` is power on, ``cut`` is power off."""

    def __init__(self, root: Path, directory: Path, port: int) -> None:
        """The card is made from ``root``; the board reaches ``port`` of this machine at GATEWAY:1883."""
        self._directory = directory
        self._kernel = kernel()
        self._card, self._initrd = directory / "card.raw", directory / "initrd"
        subprocess.run(["truncate", "--size", _CARD, self._card], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", root, self._card], check=True)
        self._initrd.write_bytes(self._make_initrd())
        self._port = port
        self._qemu: subprocess.Popen[bytes] | None = None
        self._console: socket.socket | None = None
        self._heard = ""

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def start(self) -> float:
        """Power on; returns the seconds until a shell answers."""
        begun = time.monotonic()
        socket_path = self._directory / "hvc0"
        image = next((self._kernel / "boot").glob("vmlinuz-*"))
        relay = f"socat STDIO TCP:127.0.0.1:{self._port}"  # one for each connection
        command = [
            *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", str(MEGABYTES)),
            *("-accel", "tcg,thread=multi", "-display", "none", "-monitor", "none"),
            *("-kernel", image, "-initrd", self._initrd, "-append", "console=ttyAMA0 panic=1"),
            *("-drive", f"if=none,id=card,file={self._card},format=raw", "-device", "virtio-blk-pci,drive=card"),
            *("-netdev", f"user,id=net,restrict=on,guestfwd=tcp:{GATEWAY}:1883-cmd:{relay}"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-serial", f"file:{self._directory / 'serial'}"),
            *("-chardev", f"socket,id=shell,path={socket_path},server=on,wait=off"),
            *("-device", "virtio-serial-pci", "-device", "virtconsole,chardev=shell"),
        ]
        self._qemu = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL)
        self._console = wait_for(lambda: self._connect(socket_path), "QEMU")
        wait_for(self._answers, f"a shell on the board; see {self._directory}/serial", _SECONDS)
        return time.monotonic() - begun

    def cut(self) -> None:
        """Power off, at once."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
        if self._console is not None:
            self._console.close()
            self._console = None

    @property
    def serial(self) -> str:
        """The end of what kernel and systemd said at the serial port, over all boots."""
        path = self._directory / "serial"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def run(self, command: str, seconds: float = _SECONDS) -> Finished:
        """Run a shell command as root."""
        assert self._console is not None
        self._heard = ""
        mark = f"{time.monotonic_ns():x}"
        # the mark is in two parts, so that an echo of the command is not taken for its end
        self._console.sendall(f"{{ {command}\n}} 2>&1; echo {mark}''end $?\n".encode())
        deadline = time.monotonic() + seconds
        while f"{mark}end " not in self._heard or not self._heard.endswith("\n"):
            assert time.monotonic() < deadline, f"{command}: no answer in {seconds:.0f} s: {self._heard[-500:]}"
            self._hear()
        text, _, status = self._heard.rpartition(f"{mark}end ")
        return Finished(command, int(status), text.replace("\r", ""), "")

    def output(self, command: str, seconds: float = _SECONDS) -> str:
        """What a command prints that must succeed."""
        done = self.run(command, seconds)
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout.strip()

    def _answers(self) -> bool:
        try:
            return self.run("true", 2.0).returncode == 0
        except (AssertionError, ValueError):
            return False

    def _hear(self) -> None:
        assert self._console is not None
        try:
            data = self._console.recv(65536)
        except TimeoutError:
            return
        assert data, f"the board is off\n{self.serial}"
        self._heard += data.decode(errors="replace")

    @staticmethod
    def _connect(path: Path) -> socket.socket | None:
        console = socket.socket(socket.AF_UNIX)
        try:
            console.connect(str(path))
        except OSError:
            console.close()
            return None
        console.settimeout(0.2)
        return console

    def _make_initrd(self) -> bytes:
        tree = self._directory / "initrd.d"
        for name in ("bin", "proc", "sys", "dev", "new"):
            (tree / name).mkdir(parents=True)
        shutil.copy(self._kernel / "bin/busybox", tree / "bin")
        (modules,) = (self._kernel / "lib/modules").iterdir()
        for name in _MODULES:
            shutil.copy(modules / "kernel" / f"{name}.ko", tree)
        init = tree / "init"
        init.write_text(_INIT.format(modules=" ".join(Path(name).name for name in _MODULES)))
        init.chmod(0o755)
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        command = ["cpio", "--quiet", "--create", "--format=newc"]
        archive = subprocess.run(command, cwd=tree, input=names.encode(), capture_output=True, check=True).stdout
        return gzip.compress(archive, 1)
