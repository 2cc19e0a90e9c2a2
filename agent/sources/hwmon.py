"""Linux hwmon and thermal zones: temperatures, voltages, fans of the board itself. Every Pi has one.

A channel is a thermal zone, by its directory or its type (``thermal_zone0``, ``cpu-thermal``), or a
sensor of hwmon as ``CHIP/SENSOR`` (``rpi_volt/in0``, ``k10temp/temp1``). Units are °C, V, A, W, %, and turns
a minute (Documentation/hwmon/sysfs-interface of the kernel).
"""

from collections.abc import Sequence
from pathlib import Path

from agent.sources.polled import PolledSource, Probe, first_line
from learnae.errors import TransportError

ROOT = Path("/sys/class")
_MAX_LISTED = 50  # sensors in an error text
_SCALES = {"temp": 1e-3, "in": 1e-3, "curr": 1e-3, "power": 1e-6, "humidity": 1e-3, "fan": 1.0}


def open_hwmon(root: Path, names: Sequence[str], rate: float, hold: float) -> PolledSource:
    """Open a source of these sensors; raises TransportError while one of them is not there."""
    return PolledSource([find_probe(root, name) for name in names], rate, hold)


def find_probe(root: Path, name: str) -> Probe:
    """Return the sensor ``name``; "" for the board's first thermal zone. Raises TransportError."""
    probe = _thermal(root, name) or _hwmon(root, name)
    if probe is None:
        sought = f"sensor {name!r}" if name else "thermal zone"
        raise TransportError(f"no {sought} in {root}", f"there are {', '.join(known_sensors(root)) or 'no sensors'}")
    return probe


def known_sensors(root: Path) -> list[str]:
    """Return the names of all sensors that can be asked for, for people."""
    zones = [zone.name for zone in sorted((root / "thermal").glob("thermal_zone*"))]
    sensors = [
        f"{first_line(file.parent / 'name')}/{file.name.removesuffix('_input')}"
        for file in sorted((root / "hwmon").glob("hwmon*/*_input"))
    ]
    return (zones + sensors)[:_MAX_LISTED]


def _thermal(root: Path, name: str) -> Probe | None:
    for zone in sorted((root / "thermal").glob("thermal_zone*")):
        if name in ("", zone.name, first_line(zone / "type")):
            return Probe(zone / "temp", _SCALES["temp"])
    return None


def _hwmon(root: Path, name: str) -> Probe | None:
    chip, _, sensor = name.partition("/")
    kind = sensor.rstrip("0123456789")
    for directory in sorted((root / "hwmon").glob("hwmon*")):
        file = directory / f"{sensor}_input"
        if kind in _SCALES and first_line(directory / "name") == chip and file.exists():
            return Probe(file, _SCALES[kind])
    return None
