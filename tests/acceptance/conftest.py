"""What the acceptance run shares: Learnae installed into an arm64 Debian exactly as docs/raspberry-pi.md says.

Nothing is skipped: what is missing is named, and the run fails.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from container import mount_overlay
from userland import FOREIGN, ROOT, Userland, run

from demo.people import write_private_file
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset

NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-system-aarch64": "qemu-system-arm",
    "mkfs.ext4": "e2fsprogs",
    "cpio": "cpio",
    "socat": "socat",
    "mosquitto": "mosquitto",
}


def pytest_sessionstart() -> None:
    """Everything that the run needs is here, or it ends."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [package for program, package in NEEDED.items() if shutil.which(program, path=path) is None]
    if missing:
        pytest.exit(f"the acceptance run needs: apt-get install {' '.join(missing)}", returncode=1)
    if os.geteuid() != 0:
        pytest.exit("the acceptance run needs root: it makes Debian roots and mounts overlays", returncode=1)
    if tuple(map(int, platform.release().split(".")[:2])) < (6, 7):
        pytest.exit(f"the acceptance run needs Linux 6.7 or newer, for binfmt_misc; this is {platform.release()}", 1)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is carried to the board, and what tests need besides."""
    directory = tmp_path_factory.mktemp("pack")
    run([ROOT / "scripts" / "pack-board", directory, "aarch64", "pytest>=8", "hypothesis"], PYTHON=sys.executable)
    return directory


@pytest.fixture(scope="session")
def userland(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Userland]:
    """Installed by scripts/install-board from what was packed, with a swarm to join."""
    directory = tmp_path_factory.mktemp("arm64")
    lower = run([*FOREIGN, ROOT / "scripts" / "debian-root", "arm64"], 1800).strip()
    root = mount_overlay(directory, lower)
    try:
        swarm = create_swarm(preset("wrist", created=0), directory / "swarm").directory
        shutil.copytree(pack, root / "root/pack")
        shutil.copy(swarm / "manifest.cbor", root / "root/pack")
        arm64 = Userland(root)
        arm64.run("sh /root/pack/install-board board --swarm /root/pack/manifest.cbor")
        write_private_file(1, root / "etc/learnae/recording.npz")
        config = root / "etc/learnae/agent-board.toml"
        config.write_text(config.read_text().replace("recording.csv", "recording.npz").replace("5.0", "1.0"))
        yield arm64
    finally:
        run(["umount", root])
