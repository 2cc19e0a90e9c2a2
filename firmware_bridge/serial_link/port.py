"""The serial port of a board: found by its name, opened alone, lost and found again; every failure has a name."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.errors import LinkError, PortBusyError, PortMissingError, PortPermissionError
from learnae.errors import ConfigurationError
from learnae.system.installation import how_to_install
from learnae.system.permissions import why_denied

if TYPE_CHECKING:
    import serial

AUTO = "auto"
DEVICES = Path("/dev")
TTY_CLASSES = Path("/sys/class/tty")
_USB = ("ttyUSB*", "ttyACM*")
_PINS = ("ttyAMA*", "ttyTHS*", "ttymxc*", "ttySC*")  # of the computer's own connector: there without any board
_CLASSES = Path("/proc/devices")
_READ_BYTES = 1 << 14  # at once: more than a second at 115200 baud
_MAX_WAITING = 4096  # bytes that the port does not take at once; the link repeats what is dropped


def list_ports(devices: Path = DEVICES, tty_classes: Path = TTY_CLASSES) -> dict[str, str]:
    """Return the device of each plugged-in board, by a name that means this board alone.

    That is its name below /dev/serial/by-id, which stays with it whichever socket it is plugged into. Boards without a
    serial number share one, and only the newest has it: such boards are named by their sockets, below
    /dev/serial/by-path, and by their devices where udev names nothing (a container).
    """
    by_id, by_path = _links(devices / "serial/by-id"), _links(devices / "serial/by-path")
    by_device = {str(path): os.path.realpath(path) for pattern in _USB for path in sorted(devices.glob(pattern))}
    present = {*by_path.values(), *by_device.values()}
    nameless = [_identity(device, tty_classes) for device in present - set(by_id.values())]
    ports: dict[str, str] = {}
    for name, device in by_id.items():
        identity = _identity(device, tty_classes) if nameless else None
        if not nameless or (identity and None not in nameless and identity not in nameless):
            ports[name] = device
    for name, device in (by_path | by_device | {device: device for device in by_id.values()}).items():
        if device not in ports.values():  # newer versions of udev give a socket two names
            ports[name] = device
    return ports


def find_port(name: str, devices: Path = DEVICES, tty_classes: Path = TTY_CLASSES) -> str:
    """Return the device that ``name`` means: a path, a name below /dev/serial, or ``auto`` for the only board.

    Raises PortMissingError, or ConfigurationError if the name could mean several.
    """
    if "/" in name:
        return name
    ports = list_ports(devices, tty_classes)
    if name == AUTO:
        if len(ports) > 1:
            raise ConfigurationError(
                f"{len(ports)} boards are plugged in", f"set port.name to one of: {', '.join(ports)}"
            )
        if not ports:
            raise PortMissingError(
                "no board is plugged in", f"plug one in, or set port.name to its device{pins(devices)}"
            )
        return next(iter(ports.values()))
    if name in ports:
        return ports[name]
    by_path = _links(devices / "serial/by-path")
    if name in by_path:
        return by_path[name]
    if name in _links(devices / "serial/by-id"):
        raise ConfigurationError(
            f"port.name {name!r} may mean any of {len(ports)} boards", f"set port.name to one of: {', '.join(ports)}"
        )
    raise PortMissingError(f"no board {name!r} is plugged in", _plugged(ports))


def _links(directory: Path) -> dict[str, str]:
    if not directory.is_dir():
        return {}
    return {entry.name: os.path.realpath(entry) for entry in sorted(directory.iterdir())}


def _identity(device: str, tty_classes: Path) -> str | None:
    """Return what udev makes a name below by-id of: maker, product and serial number of a USB device, if known."""
    place = Path(os.path.realpath(tty_classes / Path(device).name / "device"))
    for directory in (place, *place.parents):
        if (directory / "idVendor").is_file():
            files = [directory / name for name in ("idVendor", "idProduct", "serial")]
            return " ".join(file.read_text().strip() if file.is_file() else "-" for file in files)
    return None


def pins(devices: Path = DEVICES) -> str:
    """Return the computer's own ports, which are there without any board, as the end of a sentence; "" if none."""
    found = sorted(str(path) for pattern in _PINS for path in devices.glob(pattern))
    return f", perhaps {' or '.join(found)}" if found else ""


class SerialPort:
    """An open port; nothing here waits. Raises LinkError, PortPermissionError, ConfigurationError."""

    def __init__(self, device: str, baud: int) -> None:
        self.device = device
        self._waiting = b""
        self._serial = _open(device, baud)

    def fileno(self) -> int:
        """Return the file descriptor, for select(2)."""
        return int(self._serial.fileno())

    @property
    def has_waiting(self) -> bool:
        """Return True if bytes wait to be written."""
        return bool(self._waiting)

    def read(self) -> bytes:
        """Return the bytes that have arrived, perhaps none; raises PortMissingError when the board was unplugged."""
        try:
            return bytes(self._serial.read(_READ_BYTES))
        except OSError as error:
            raise _explain(self.device, error) from error

    def write(self, data: bytes) -> None:
        """Write as soon as the port takes it; raises PortMissingError when the board was unplugged."""
        waiting = (self._waiting + data)[:_MAX_WAITING]
        try:
            sent = os.write(self.fileno(), waiting) if waiting else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise _explain(self.device, error) from error
        self._waiting = waiting[sent:]

    def close(self) -> None:
        """Let go of the port."""
        self._serial.close()


def _open(device: str, baud: int) -> serial.Serial:
    try:
        import serial  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError("pyserial is not installed", how_to_install("serial")) from error
    try:
        return serial.Serial(device, baud, timeout=0, exclusive=True)
    except OSError as error:
        if os.strerror(errno.ENOTTY) in str(error) or error.errno == errno.EISDIR:  # pyserial hides the number
            raise ConfigurationError(f"{device} is no serial port", _plugged(list_ports())) from error
        raise _explain(device, error) from error
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{device} cannot do {baud} baud: {error}", "set port.baud to the firmware's"
        ) from error


def _explain(device: str, error: OSError) -> LinkError | PortPermissionError:
    if error.errno == errno.EACCES:
        who, remedy = why_denied(device)
        return PortPermissionError(f"no permission to open {device}: {who}", remedy)
    if error.errno == errno.EPERM:
        remedy = (
            f"below [Service] add DeviceAllow={_device_class(device)} rw (systemctl edit firmware-bridge@NAME), "
            f"or start the container with --device {os.path.realpath(device)}; no group helps"
        )
        return PortPermissionError(f"a device filter refuses {device} (systemd's DeviceAllow, a container)", remedy)
    if error.errno in (errno.EBUSY, errno.EAGAIN):
        return PortBusyError(f"another program holds {device}", f"close it; fuser -v {device} says which it is")
    reason = os.strerror(error.errno) if error.errno else "unplugged"
    return PortMissingError(f"{device} is not there: {reason}", _plugged(list_ports()))


def _device_class(device: str) -> str:
    """Return what systemd calls the devices of this kind, else the device's path."""
    real = os.path.realpath(device)
    with suppress(OSError):
        major = str(os.major(os.stat(real).st_rdev))
        lines = [line.split() for line in _CLASSES.read_text().partition("Block devices:")[0].splitlines()]
        names = [words[1] for words in lines if words[:1] == [major] and len(words) == 2]
        own = names if len(names) == 1 else [name for name in names if os.path.basename(real).startswith(name)]
        if own:
            return f"char-{max(own, key=len)}"
    return real


def _plugged(ports: dict[str, str]) -> str:
    return f"there are: {', '.join(ports)}" if ports else "plug the board in"
