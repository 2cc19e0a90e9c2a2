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
def by_id(tmp_path):
    def make(*names: str):
        for name in names:
            (tmp_path / f"tty-{name}").touch()
            (tmp_path / name).symlink_to(f"tty-{name}")
        return tmp_path

    directory = tmp_path / "by-id"
    directory.mkdir()
    tmp_path = directory
    return make


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


def test_boards_are_found_by_the_names_that_stay_with_them(by_id):
    directory = by_id("usb-Arduino-1")
    assert list_ports(directory) == {"usb-Arduino-1": str(directory / "tty-usb-Arduino-1")} | {
        name: path for name, path in list_ports(directory).items() if name.startswith("tty")
    }
    assert find_port("usb-Arduino-1", directory) == str(directory / "tty-usb-Arduino-1")
    assert find_port("/dev/ttyUSB7", directory) == "/dev/ttyUSB7"


def test_the_only_board_needs_no_name(tmp_path):
    (tmp_path / "usb-one").symlink_to("/dev/null")
    assert find_port("auto", tmp_path) == "/dev/null"


def test_no_board_and_a_wrong_name_are_named(tmp_path):
    with pytest.raises(PortMissingError, match="no board is plugged in"):
        find_port("auto", tmp_path / "none")
    (tmp_path / "usb-one").symlink_to("/dev/null")
    with pytest.raises(PortMissingError, match=r"no board 'usb-two'.*there are: usb-one"):
        find_port("usb-two", tmp_path)


def test_several_boards_need_a_name(tmp_path):
    for name in ("usb-one", "usb-two"):
        (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(ConfigurationError, match="usb-one, usb-two"):
        find_port("auto", tmp_path)
