"""Devices of sysfs as people name them, and that a name stays on the device that it first meant.

The kernel numbers devices in the order in which it finds them (``hwmon3``, ``iio:device0``), so a number may be another
device after the next start, and several devices may have one name. What tells them apart is where they are plugged in.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.sources.polled import first_line
from learnae.errors import TransportError
from learnae.text import shown

# parts of a path that only count what was found: 0003:045E:0A2B.0004 may be 0003:045E:0A2B.0005 next time, nvme0 nvme1
_COUNTING = re.compile(r"([0-9A-F]{4}:[0-9A-F]{4}:[0-9A-F]{4}\.|nvme|phy)[0-9A-F]+")

_VIRTUAL = "virtual"  # the kernel's directory of devices that are plugged in nowhere


@dataclass(frozen=True, slots=True)
class Device:
    """A ``directory`` of sysfs: its kind's ``name``, the ``label`` of its role, the ``place`` where it is plugged in.

    Each is "" where the kernel does not tell.
    """

    directory: Path
    name: str
    label: str = ""
    place: str = ""

    @property
    def identity(self) -> str:
        """Return what stays the same when the kernel numbers its devices anew."""
        parts = (found[1] if (found := _COUNTING.fullmatch(part)) else part for part in self.place.split("/"))
        return " ".join(filter(None, (self.name, self.label, "/".join(parts))))

    def is_called(self, name: str) -> bool:
        """Return True if ``name`` is its name, label or directory, its place or a part of that."""
        own = (self.directory.name, self.name, self.label, self.place)
        return bool(name) and (name in own or f"/{name}/" in f"{self.place}/")


def find_devices(root: Path, pattern: str, name_file: str = "name") -> list[Device]:
    """Return the devices of ``root`` in the order of their numbers."""
    found = sorted(root.glob(pattern), key=lambda path: (len(path.name), path.name))
    return [Device(path, first_line(path / name_file), first_line(path / "label"), _place(path)) for path in found]


def _place(directory: Path) -> str:
    """Return the path of the hardware behind a device; "" for one that has none of its own."""
    real = os.path.realpath(directory)
    place = os.path.realpath(directory / "device") if (directory / "device").exists() else os.path.dirname(real)
    return place if directory.is_symlink() and _VIRTUAL not in place.split("/") else ""


def handle(device: Device, devices: Sequence[Device], but: str = "") -> str:
    """Return a name that only ``device`` has among ``devices``, and is not ``but``: one that stays if there is one."""
    parts = [part for part in reversed(device.place.split("/")) if not _COUNTING.fullmatch(part)]
    names = (device.name, device.label, *parts, device.place, device.directory.name)
    own = [name for name in names if name not in ("", but) and sum(other.is_called(name) for other in devices) == 1]
    return own[0] if own else str(device.directory)


def choose(
    asked: str, fitting: Sequence[Device], all_devices: Sequence[Device], pin: str, suffix: str = ""
) -> Device | None:
    """Return the device that ``pin``, an earlier identity, or else ``asked`` means; None if nothing fits.

    ``fitting`` are those of ``all_devices`` that can be what is asked for; an empty ``asked`` means any of them. Raises
    TransportError if several do, or if what was meant earlier has gone and another one has taken its name. Its choices
    end in ``suffix``.
    """
    called = [device for device in fitting if not asked or device.is_called(asked)]
    sought, choices = called, shown([handle(device, all_devices, asked) + suffix for device in called])
    if pin:
        same = [device for device in fitting if device.identity == pin]
        sought = [device for device in same if device in called] if len(same) > 1 else same
        if called and not sought:
            problem = f"{asked or 'the first'}{suffix} was {pin}, which is not there"
            raise TransportError(problem, f"plug it in again, or name another: {choices}")
    if len(sought) > 1:
        problem = f"{len(sought)} devices are called {asked!r}" if asked else f"{len(sought)} devices fit"
        raise TransportError(problem, f"name one of them: {choices}")
    return sought[0] if sought else None


def to_position(asked: Sequence[str], identities: Sequence[str]) -> str:
    """Return a source's position: what was asked for, and which devices that were."""
    return json.dumps([list(asked), list(identities)])


def from_position(position: str, asked: Sequence[str], count: int) -> list[str]:
    """Return the ``count`` identities of an earlier ``to_position``; empty ones if it asked for something else."""
    try:
        before, identities = json.loads(position)
    except (ValueError, TypeError):
        before, identities = [], []
    fits = before == list(asked) and isinstance(identities, list) and len(identities) == count
    return [str(identity) for identity in identities] if fits else [""] * count
