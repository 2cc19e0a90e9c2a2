"""Linux hwmon and thermal zones: temperatures, voltages, fans of the board itself. Every Pi has one.

A channel is a thermal zone, by its type or its directory (``cpu-thermal``, ``thermal_zone0``), or a sensor of hwmon as
``CHIP/SENSOR``, where CHIP is the chip's name, its directory or a part of its device's path (``k10temp/temp1``,
``hwmon3/temp1``, ``1-0048/temp1``). Units are °C, V, A, W, J, %, and turns a minute
(Documentation/ABI/testing/sysfs-class-hwmon of the kernel).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.sources.devices import Device, choose, find_devices, from_position, handle, to_position
from agent.sources.polled import PolledSource, Probe
from learnae.errors import TransportError

ROOT = Path("/sys/class")
_MAX_LISTED = 50  # sensors in an error text
_SCALES = {"temp": 1e-3, "in": 1e-3, "curr": 1e-3, "power": 1e-6, "energy": 1e-6, "humidity": 1e-3, "fan": 1.0}
_SENSOR = re.compile(rf"({'|'.join(_SCALES)})[0-9]+")
_VALUES = ("input", "average")  # some chips tell only the average of a power


def open_hwmon(root: Path, names: Sequence[str], rate: float, hold: float, position: str = "") -> PolledSource:
    """Open a source of these sensors; raises TransportError while one of them is not there, or not certain.

    ``position`` is that of an earlier source, whose sensors these have to be.
    """
    pins = from_position(position, names, len(names))
    found = [_find(root, name, pin) for name, pin in zip(names, pins, strict=True)]
    position = to_position(names, [device.identity for device, _ in found])
    return PolledSource([probe for _, probe in found], rate, hold, position=position)


def find_probe(root: Path, name: str) -> Probe:
    """Return the sensor ``name``; "" for the board's first thermal zone. Raises TransportError."""
    return _find(root, name, "")[1]


def known_sensors(root: Path) -> list[str]:
    """Return the names of all sensors that can be asked for, for people."""
    zones = find_devices(root / "thermal", "thermal_zone*", "type")
    chips = find_devices(root / "hwmon", "hwmon*")
    sensors = [f"{handle(chip, chips)}/{sensor}" for chip in chips for sensor in _sensors(chip)]
    return ([handle(zone, zones) for zone in zones] + sensors)[:_MAX_LISTED]


def _find(root: Path, name: str, pin: str) -> tuple[Device, Probe]:
    found = _thermal(root, name, pin) or _hwmon(root, name, pin)
    if found is None:
        sought = f"sensor {name!r}" if name else "thermal zone"
        raise TransportError(f"no {sought} in {root}", f"there are {', '.join(known_sensors(root)) or 'no sensors'}")
    return found


def _thermal(root: Path, name: str, pin: str) -> tuple[Device, Probe] | None:
    zones = find_devices(root / "thermal", "thermal_zone*", "type")
    first = zones[0].directory.name if zones and not name else ""
    zone = choose(name or first, zones, zones, pin) if name or first else None
    return (zone, Probe(zone.directory / "temp", _SCALES["temp"])) if zone else None


def _hwmon(root: Path, name: str, pin: str) -> tuple[Device, Probe] | None:
    asked, _, sensor = name.rpartition("/")
    kind = _SENSOR.fullmatch(sensor)
    if not asked or not kind:
        return None
    chips = find_devices(root / "hwmon", "hwmon*")
    chip = choose(asked, [chip for chip in chips if _value(chip, sensor)], chips, pin, f"/{sensor}")
    if chip is None:
        return None
    file, fault = _value(chip, sensor), chip.directory / f"{sensor}_fault"
    assert file is not None
    return chip, Probe(file, _SCALES[kind[1]], fault=fault if fault.exists() else None)


def _value(chip: Device, sensor: str) -> Path | None:
    """Return the file in which the chip says what a sensor measures, if it does."""
    files = (chip.directory / f"{sensor}_{value}" for value in _VALUES)
    return next((file for file in files if file.exists()), None)


def _sensors(chip: Device) -> Iterator[str]:
    names = {file.name.rpartition("_")[0] for value in _VALUES for file in chip.directory.glob(f"*_{value}")}
    return iter(sorted(name for name in names if _SENSOR.fullmatch(name)))
