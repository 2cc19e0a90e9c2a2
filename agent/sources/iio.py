"""Linux IIO: sensors on the board's own buses (accelerometers, converters, light, gas), asked through sysfs.

A channel is named as its file without what follows the name: ``in_accel_x`` for ``in_accel_x_raw``, whose
value is (raw + offset) · scale in the unit of Documentation/ABI/testing/sysfs-bus-iio, or ``in_temp`` for
``in_temp_input``. Good for some hundred readings a second; faster sensors belong behind a firmware bridge.
"""

from collections.abc import Sequence
from pathlib import Path

from agent.sources.polled import PolledSource, Probe, first_line, read_number
from learnae.errors import TransportError

ROOT = Path("/sys/bus/iio/devices")


def open_iio(root: Path, device: str, names: Sequence[str], rate: float, hold: float) -> PolledSource:
    """Open a source of the channels ``names`` of ``device``: its name, its directory's, or "" for any that has all.

    Raises TransportError while it is not there.
    """
    for directory in sorted(root.glob("iio:device*")):
        if device not in ("", directory.name, first_line(directory / "name")):
            continue
        probes = [_probe(directory, name) for name in names]
        found = [probe for probe in probes if probe is not None]
        if len(found) == len(names):
            return PolledSource(found, rate, hold)
    known = [f"{path.name} ({first_line(path / 'name')})" for path in sorted(root.glob("iio:device*"))]
    raise TransportError(
        f"no IIO device {device!r} with {', '.join(names)} in {root}", f"there are {', '.join(known) or 'none'}"
    )


def _probe(directory: Path, name: str) -> Probe | None:
    if "/" in name:
        return None
    if (directory / f"{name}_raw").exists():
        scale, offset = (_shared(directory, name, what, default) for what, default in (("scale", 1.0), ("offset", 0.0)))
        return Probe(directory / f"{name}_raw", scale, offset)
    if (directory / f"{name}_input").exists():
        return Probe(directory / f"{name}_input")
    return None


def _shared(directory: Path, name: str, what: str, default: float) -> float:
    """Return the channel's own number, or that of its kind: ``in_accel_scale`` serves ``in_accel_x``."""
    for owner in (name, name.rstrip("0123456789"), name.rpartition("_")[0]):
        file = directory / f"{owner}_{what}"
        if file.exists():
            return read_number(file)
    return default
