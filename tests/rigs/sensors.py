"""A board for agents: a swarm that needs no labels, and a tree like /sys whose sensors a test plugs and unplugs."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from learnae.protocol.limits import Limits
from learnae.swarm.directory import create_swarm
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
RATE = 50.0


def board_manifest(name: str = "board", labelled: bool = False) -> Manifest:
    """Return an autoencoder of windows of 0.2 s of six channels at 50 Hz, or a classifier of two classes."""
    width = 5 * len(CHANNELS)
    features = WindowStatistics(CHANNELS, RATE, 10, 5, (0.0,) * width, (1.0,) * width)
    final = (2, "softmax") if labelled else (width, "linear")
    return Manifest(
        name,
        dense_config(width, (8,), *final),
        "sparse_categorical_crossentropy" if labelled else "mean_squared_error",
        classes=("idle", "busy") if labelled else (),
        features=features,
        training=TrainingPolicy(steps=4, batch=8),
        limits=Limits(interval=20),
    )


def make_swarm(home: Path, labelled: bool = False) -> Path:
    """Make a swarm; return its directory below ``home``."""
    manifest = board_manifest(labelled=labelled)
    return create_swarm(manifest, home / "swarms" / str(manifest.swarm)).directory


class Sysfs:
    """An IIO device of six channels in ``root``, whose values a thread changes until the context ends."""

    def __init__(self, root: Path, values: list[str] | None = None) -> None:
        self.root = root
        self._device = root / "iio:device0"
        self._device.mkdir(parents=True)
        (self._device / "name").write_text("imu\n")
        self._values = values or ["%010.6f" % (index / 7) for index in range(1000)]
        self._files = [os.open(self._device / f"in_{name}_raw", os.O_WRONLY | os.O_CREAT, 0o644) for name in CHANNELS]
        self._position = self.turns = 0
        self.step()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sysfs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for file in self._files:
            os.close(file)

    def step(self) -> None:
        """Write the next value of every channel in place so that no reader sees half of it."""
        for file in self._files:
            os.pwrite(file, self._values[self._position % len(self._values)].encode(), 0)
            self._position += 1
        self.turns += 1

    def unplug(self) -> None:
        """Unplug the device."""
        shutil.move(self._device, self.root / "unplugged")

    def plug(self, number: int) -> None:
        """Plug it in again, under another number."""
        self._device = self.root / f"iio:device{number}"
        shutil.move(self.root / "unplugged", self._device)

    def section(self, name: str = "source") -> str:
        """Return the configuration of an agent that reads it."""
        channels = ", ".join(f'{channel} = "in_{channel}"' for channel in CHANNELS)
        return f'[{name}]\nkind = "iio"\ndevice = "imu"\nroot = "{self.root}"\nchannels = {{ {channels} }}\n'

    def _run(self) -> None:
        while not self._stop.wait(0.5 / RATE):
            self.step()
