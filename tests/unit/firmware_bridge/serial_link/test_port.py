"""The serial port: found, opened, refused and lost, each by its name."""

import errno
import os
import tty

import pytest

from firmware_bridge.errors import PortBusyError, PortMissingError, PortPermissionError
from firmware_bridge.serial_link.port import SerialPort, _explain, find_port, list_ports
from learnae.errors import ConfigurationError, LearnaeError

pytestmark = pytest.mark.modules("serial")
needs_terminals = pytest.mark.engine("/dev/ptmx")  # a chroot may have none


@pytest.fixture
def line():
    """A pseudo-terminal: (our end, the device's name)."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    name = os.ttyname(theirs)
    os.close(theirs)
    yield ours, name
    os.close(ours)


@pytest.fixture
def devices(tmp_path):
    """Makes /dev and /sys/class/tty as udev and the kernel leave them: devices, names, sockets, identities."""

    def make(names=(), paths=(), bare=(), identities=()):
        for folder, links in (("by-id", dict(names)), ("by-path", dict(paths))):
            for name, device in links.items():
                (tmp_path / device).touch()
                (tmp_path / "serial" / folder).mkdir(parents=True, exist_ok=True)
                (tmp_path / "serial" / folder / name).symlink_to(f"../../{device}")
        for device in bare:
            (tmp_path / device).touch()
        for device, (maker, product, serial) in dict(identities).items():
            usb = tmp_path / "usb" / device
            (usb / "if00").mkdir(parents=True)
            for name, text in (("idVendor", maker), ("idProduct", product), ("serial", serial)):
                if text:
                    (usb / name).write_text(text + "\n")
            (tmp_path / "class" / device).mkdir(parents=True)
            (tmp_path / "class" / device / "device").symlink_to(usb / "if00")
        return tmp_path

    return make


def listed(root) -> dict[str, str]:
    return {name: os.path.basename(device) for name, device in list_ports(root, root / "class").items()}


def test_what_is_no_port_is_not_said_to_be_unplugged(tmp_path):
    (tmp_path / "file").touch()
    for name in (tmp_path, tmp_path / "file", "/dev/null"):
        with pytest.raises(ConfigurationError, match=f"{name} is no serial port"):
            SerialPort(str(name), 115200)


@needs_terminals
def test_bytes_go_both_ways_without_waiting(line):
    ours, name = line
    port = SerialPort(name, 115200)
    assert port.read() == b""
    os.write(ours, b"\0abc")
    assert port.read() == b"\0abc"
    port.write(b"out\0")
    assert os.read(ours, 100) == b"out\0"
    port.close()


@needs_terminals
def test_what_the_port_does_not_take_waits_bounded(line):
    _, name = line
    port = SerialPort(name, 115200)
    for _ in range(100):
        port.write(b"x" * 1000)
    assert port.has_waiting
    assert len(port._waiting) <= 4096
    port.close()


@needs_terminals
def test_an_unplugged_board_is_named():
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    port = SerialPort(os.ttyname(theirs), 115200)
    os.close(theirs)
    os.close(ours)
    with pytest.raises(PortMissingError, match="is not there"):
        port.read()
    with pytest.raises(PortMissingError, match="is not there"):
        port.write(b"x")
    port.close()


def test_a_port_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PortMissingError, match=r"ttyACM9 is not there: No such file.*"):
        SerialPort(str(tmp_path / "ttyACM9"), 115200)


@needs_terminals
def test_a_busy_port_is_named_with_how_to_find_its_user(line):
    _, name = line
    first = SerialPort(name, 115200)
    with pytest.raises(PortBusyError, match=r"another program holds .* fuser"):
        SerialPort(name, 115200)
    first.close()
    SerialPort(name, 115200).close()


@needs_terminals
def test_a_port_without_permission_is_named_with_the_group(line):
    _, name = line
    os.chmod(name, 0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(PortPermissionError, match=r"no permission .* dialout") as caught:
            SerialPort(name, 115200)
    finally:
        os.seteuid(user)
    assert isinstance(caught.value, ConfigurationError)  # exit status 78


def test_a_device_filter_is_told_from_a_missing_group():
    error = _explain("/dev/null", PermissionError(errno.EPERM, "Operation not permitted"))
    assert str(error).startswith("a device filter refuses /dev/null (systemd's DeviceAllow, a container)")
    assert "DeviceAllow=char-mem rw" in str(error)
    assert "--device /dev/null" in str(error)
    assert "usermod" not in str(error)
    assert "DeviceAllow=/absent rw" in str(_explain("/absent", PermissionError(errno.EPERM, "")))


@needs_terminals
def test_a_baud_rate_that_the_port_cannot_do_is_named(line):
    _, name = line
    with pytest.raises(LearnaeError, match=r"baud|not there"):
        SerialPort(name, 2**40)


ARDUINO, CH340 = "usb-Arduino-1", "usb-1a86_USB_Serial-if00-port0"


def test_boards_are_found_by_the_names_that_stay_with_them(devices):
    root = devices({ARDUINO: "ttyACM0"}, {"usb-0:1.3": "ttyACM0", "usbv2-0:1.3": "ttyACM0"})
    assert listed(root) == {ARDUINO: "ttyACM0"}
    for name in (ARDUINO, "usb-0:1.3", "usbv2-0:1.3", "auto"):
        assert find_port(name, root) == str(root / "ttyACM0")
    assert find_port("/dev/ttyUSB7", root) == "/dev/ttyUSB7"


def test_no_board_and_a_wrong_name_are_named(devices):
    root = devices(bare=["ttyAMA0"])
    with pytest.raises(PortMissingError, match=r"no board is plugged in.*perhaps .*ttyAMA0"):
        find_port("auto", root)
    devices({ARDUINO: "ttyACM0"})
    with pytest.raises(PortMissingError, match=r"no board 'usb-two'.*there are: usb-Arduino-1"):
        find_port("usb-two", root)


@pytest.mark.parametrize(
    ("plugged", "expected"),
    [
        (
            {"names": {CH340: "ttyUSB1"}, "paths": {"usb-0:1.3": "ttyUSB0", "usb-0:1.5": "ttyUSB1"}},
            {"usb-0:1.3": "ttyUSB0", "usb-0:1.5": "ttyUSB1"},
        ),
        ({"names": {"usb-one": "ttyUSB0", "usb-two": "ttyUSB1"}}, {"usb-one": "ttyUSB0", "usb-two": "ttyUSB1"}),
        ({"names": {CH340: "ttyUSB1"}, "bare": ["ttyUSB0"]}, {"ttyUSB0": "ttyUSB0", "ttyUSB1": "ttyUSB1"}),
        ({"bare": ["ttyUSB0", "ttyACM3"]}, {"ttyACM3": "ttyACM3", "ttyUSB0": "ttyUSB0"}),
        (
            {
                "names": {ARDUINO: "ttyACM0", CH340: "ttyUSB1"},
                "paths": {"usb-0:1.2": "ttyACM0", "usb-0:1.3": "ttyUSB0", "usb-0:1.5": "ttyUSB1"},
                "identities": {
                    "ttyACM0": ("2341", "0043", "75"), "ttyUSB0": ("1a86", "7523", ""), "ttyUSB1": ("1a86", "7523", "")
                },
            },
            {ARDUINO: "ttyACM0", "usb-0:1.3": "ttyUSB0", "usb-0:1.5": "ttyUSB1"},
        ),
    ],
)  # fmt: skip
def test_boards_that_share_a_name_are_named_by_their_sockets(devices, plugged, expected):
    root = devices(**plugged)
    assert {os.path.basename(name): device for name, device in listed(root).items()} == expected
    with pytest.raises(ConfigurationError) as caught:
        find_port("auto", root, root / "class")
    assert all(name in str(caught.value) for name in expected)
    for name in dict(plugged.get("names", ())):
        if name not in expected:
            with pytest.raises(ConfigurationError, match="may mean any of"):
                find_port(name, root, root / "class")
