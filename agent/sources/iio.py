"""Linux IIO: sensors on the board's own buses (accelerometers, converters, light, gas), asked through sysfs.

A channel is named as its file without what follows the name: ``in_accel_x`` for ``in_accel_x_raw``, ``in_temp`` for
``in_temp_input``, ``in_voltage0-voltage1`` for a difference, ``in_accel_x_peak`` for ``in_accel_x_peak_raw``. Its value
is that of ``_input``, or (raw + offset) · scale, in the unit of Documentation/ABI/testing/sysfs-bus-iio of the kernel.
Good for some hundred readings a second; faster sensors belong behind a firmware bridge.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.sources.devices import Device, choose, find_devices, from_position, handle, to_position
from agent.sources.polled import PolledSource, Probe
from learnae.errors import TransportError
from learnae.text import shown

ROOT = Path("/sys/bus/iio/devices")
_PATTERN = "iio:device*"
_CHANNEL = re.compile(
    r"in_(?P<type>[a-z]+)(?P<index>[0-9]*)(?P<minus>-(?P=type)[0-9]+)?(?:_(?P<name>[^/\0]+?))??(?:_(?P<kind>peak|trough|mean))?"
)
_SETTING = "quadrature_correction"  # its raw value is what is written to the hardware, not what it measures
_VALUES = ("input", "raw")  # what the driver has converted itself is certain


def open_iio(
    root: Path, device: str, names: Sequence[str], rate: float, hold: float, position: str = ""
) -> PolledSource:
    """Open a source of the channels ``names`` of ``device``: what it is called, or "" for the one that has all.

    ``position`` is that of an earlier source, whose device it has to be. Raises TransportError while it is not there,
    is not certain, or does not say how raw values become measured ones.
    """
    asked = [device, *names]
    devices = find_devices(root, _PATTERN)
    fitting = [each for each in devices if all(_value(each.directory, name) for name in names)]
    (pin,) = from_position(position, asked, 1)
    found = choose(device, fitting, devices, pin)
    if found is None:
        raise _nothing(root, device, names, devices)
    probes = [_probe(found.directory, name) for name in names]
    return PolledSource(probes, rate, hold, position=to_position(asked, [found.identity]))


def _nothing(root: Path, device: str, names: Sequence[str], devices: Sequence[Device]) -> TransportError:
    known = [f"{each.directory.name} ({handle(each, devices)})" for each in devices]
    remedy = f"there are {shown(known) or 'none'}"
    for each in devices:
        if each.is_called(device) or len(devices) == 1:
            remedy += f"; {each.directory.name} has {shown(sorted(_channels(each.directory))) or 'no channel'}"
    return TransportError(f"no IIO device {device!r} with {', '.join(names)} in {root}", remedy)


def _value(directory: Path, name: str) -> Path | None:
    """Return the file of a channel's value; None if the device has no such channel."""
    match = _CHANNEL.fullmatch(name)
    if match is None or (match["name"] or "").endswith(_SETTING):
        return None
    return next((file for value in _VALUES if (file := directory / f"{name}_{value}").exists()), None)


def _channels(directory: Path) -> Iterator[str]:
    for value in _VALUES:
        for file in directory.glob(f"in_*_{value}"):
            name = file.name.removesuffix(f"_{value}")
            if _value(directory, name):
                yield name


def _probe(directory: Path, name: str) -> Probe:
    file, match = _value(directory, name), _CHANNEL.fullmatch(name)
    assert file is not None
    assert match is not None
    if file.name.endswith("_input"):
        return Probe(file)
    own = name.removesuffix(f"_{match['kind']}") if match["kind"] else name
    owners = list(_owners(own, match))
    peak = [f"{owner}_peak_scale" for owner in owners] if match["kind"] == "peak" else []
    scale = _first(directory, [*peak, *(f"{owner}_scale" for owner in owners), "scale"])
    offset = _first(directory, [*(f"{owner}_offset" for owner in owners), "offset"])
    if scale is None and (others := _scales(directory, match["type"])):
        raise TransportError(
            f"{file} has no scale, but its kind has: {shown(others)}", "use a channel whose unit the driver tells"
        )
    return Probe(file, 1.0 if scale is None else scale, 0.0 if offset is None else offset)


def _owners(own: str, match: re.Match[str]) -> Iterator[str]:
    """Yield the names whose scale and offset serve a channel, its own first: then what is shared, by ever more."""
    kind, name = match["type"], match["name"]
    yield own
    if match["minus"]:
        yield from _shared(f"in_{kind}-{kind}", name)
    yield from _shared(f"in_{kind}", name)
    yield "in"


def _shared(kind: str, name: str | None) -> Iterator[str]:
    if name:
        yield f"{kind}_{name}"
        axis = re.fullmatch(r"(.+)_[xyz]", name)
        if axis:
            yield f"{kind}_{axis[1]}"
    yield kind


def _scales(directory: Path, kind: str) -> list[str]:
    names = (file.name for file in directory.glob(f"in_{kind}*_scale"))
    return sorted(name for name in names if not name[len(f"in_{kind}")].isalpha())


def _first(directory: Path, names: Sequence[str]) -> Path | None:
    return next((file for name in names if (file := directory / name).exists()), None)
