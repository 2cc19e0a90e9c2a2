"""Devices of the kernel: several of one name, and numbers that are another device's after the next start."""

from pathlib import Path

import numpy as np
import pytest

from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.database import read_positions
from agent.labels import LabelNames
from agent.sources.factory import opener
from agent.sources.hwmon import find_probe, known_sensors, open_hwmon
from agent.sources.iio import open_iio
from agent.sources.live import LiveSource
from agent.sources.polled import PolledSource
from agent.sources.section import SourceSection
from learnae.config.sections import MqttSection
from learnae.errors import TransportError
from learnae.ports import Samples
from learnae.swarm.features import WindowStatistics


class Machine:
    """A tree like /sys, whose devices are plugged in at places and numbered as a start of the machine does."""

    def __init__(self, root: Path) -> None:
        self.hwmon, self.iio = root / "class", root / "iio"
        self._places = root / "devices"
        self._links: list[Path] = []

    def start(self, **numbers: tuple[str, str, float]) -> None:
        """Number the devices anew: ``hwmon3``, ``iio0`` or ``zone1`` is a name at a place, which measures a value."""
        for link in self._links:
            link.unlink()
        self._links = []
        for number, (name, place, value) in numbers.items():
            kind, index = number.rstrip("0123456789"), number.lstrip("abcdefghijklmnopqrstuvwxyz")
            directory, files = {
                "hwmon": (self.hwmon / "hwmon" / number, {"name": name, "temp1_input": value * 1000}),
                "iio": (self.iio / f"iio:device{index}", {"name": name, "in_temp_input": value}),
                "zone": (self.hwmon / "thermal" / f"thermal_zone{index}", {"type": name, "temp": value * 1000}),
            }[kind]
            real = self._places / place / directory.name
            real.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (real / file).write_text(f"{text}\n")
            if kind == "hwmon":
                (real / "device").unlink(missing_ok=True)
                (real / "device").symlink_to(self._places / place)
            directory.parent.mkdir(parents=True, exist_ok=True)
            directory.symlink_to(real)
            self._links.append(directory)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def value(source: LiveSource) -> float:
    assert isinstance(source, PolledSource)
    return source._probes[0].read()


def hwmon(machine: Machine, name: str, position: str = "") -> PolledSource:
    return open_hwmon(machine.hwmon, [name], 1.0, 0.0, position)


def iio(machine: Machine, device: str, position: str = "") -> PolledSource:
    return open_iio(machine.iio, device, ["in_temp"], 1.0, 0.0, position)


def test_two_of_one_name_are_refused_with_a_name_for_each_that_is_accepted_and_stays(machine: Machine) -> None:
    machine.start(
        hwmon3=("nvme", "pci/0000:01:00.0/nvme/nvme0", 30), hwmon10=("nvme", "pci/0000:02:00.0/nvme/nvme1", 40),
        iio0=("imu", "i2c-1/1-0068", 10), iio1=("imu", "i2c-1/1-0069", 20), iio2=("adc", "spi0.0", 50),
        zone0=("acpitz", "virtual", 60), zone1=("acpitz", "virtual", 70), zone2=("cpu", "virtual", 80),
    )  # fmt: skip
    for ask, asked, choices in (
        (
            lambda name: find_probe(machine.hwmon, name).read(),
            "nvme/temp1",
            {"0000:01:00.0/temp1": 30, "0000:02:00.0/temp1": 40},
        ),
        (lambda name: value(iio(machine, name)), "imu", {"1-0068": 10, "1-0069": 20}),
        (lambda name: value(iio(machine, name)), "", {"1-0068": 10, "1-0069": 20, "adc": 50}),
        (lambda name: find_probe(machine.hwmon, name).read(), "acpitz", {"thermal_zone0": 60, "thermal_zone1": 70}),
    ):
        with pytest.raises(TransportError, match=f"name one of them: {', '.join(choices)}$"):
            ask(asked)
        assert {choice: ask(choice) for choice in choices} == choices
    assert find_probe(machine.hwmon, "nvme/nvme1/temp1").read() == 40
    for name in known_sensors(machine.hwmon):
        find_probe(machine.hwmon, name).read()


@pytest.mark.parametrize(
    ("kind", "asked", "other"),
    [("hwmon", "hwmon1/temp1", "hwmon0"), ("iio", "iio:device1", "iio0"), ("iio", "imu", "iio0")],
)
def test_a_number_or_a_name_stays_on_the_device_that_it_first_meant(
    machine: Machine, kind: str, asked: str, other: str
) -> None:
    ask = hwmon if kind == "hwmon" else iio
    mine, twin = ("imu", "i2c-1/1-0068", 10.0), ("imu", "i2c-1/1-0069", 20.0)
    if asked == "imu":
        machine.start(**{f"{kind}1": mine})
    else:
        machine.start(**{f"{kind}1": mine, other: twin})
    position = ask(machine, asked).position
    machine.start(**{f"{kind}1": twin, f"{kind}4": mine})
    assert value(ask(machine, asked, position)) == 10
    machine.start(**{f"{kind}1": twin})
    with pytest.raises(TransportError, match=r"was imu .*i2c-1/1-0068, which is not there") as caught:
        ask(machine, asked, position)
    choice = str(caught.value).rpartition("name another: ")[2]
    assert value(ask(machine, choice, position)) == 20, "which means the other one"
    machine.start()
    with pytest.raises(TransportError, match="there are no"):
        ask(machine, asked, position)


def test_which_sensor_it_was_is_kept_with_the_readings(machine: Machine, tmp_path: Path) -> None:
    section = SourceSection(kind="iio", device="iio:device0", root=str(machine.iio), channels={"t": "in_temp"})
    features = WindowStatistics(("t",), 10.0, 10, 5, (0.0,) * 5, (1.0,) * 5)
    open_source = opener(section, features, LabelNames((), 2), MqttSection())
    machine.start(iio0=("imu", "a", 10), iio1=("imu", "b", 20))
    buffer = SampleBuffer(tmp_path / "samples.db", 1, 1000, 1 << 20)
    source = open_source(buffer.position("pump"))
    buffer.append("pump", Samples.unmarked(np.ones(1), np.ones((1, 1), np.float32), -1), source.position)
    buffer.commit()
    buffer.close()
    machine.start(iio0=("imu", "b", 20))
    for position in (
        SampleBuffer(tmp_path / "samples.db", 1, 1000, 1 << 20).position("pump"),
        read_positions(tmp_path / "samples.db")["pump"],
    ):
        with pytest.raises(TransportError, match=r"iio:device0 was imu .*/a, which is not there"):
            open_source(position)
    assert read_positions(tmp_path / "absent.db") == {}


@pytest.mark.parametrize("asked", ["thermal_zone0", ""])
def test_a_thermal_zone_stays_by_its_type(machine: Machine, asked: str) -> None:
    machine.start(zone0=("cpu", "virtual", 50), zone1=("gpu", "virtual", 60))
    position = hwmon(machine, asked).position
    machine.start(zone0=("gpu", "virtual", 60), zone1=("cpu", "virtual", 50))
    assert value(hwmon(machine, asked, position)) == 50
    machine.start(zone0=("gpu", "virtual", 60))
    with pytest.raises(TransportError, match="was cpu, which is not there"):
        hwmon(machine, asked, position)


def test_another_question_is_answered_anew(machine: Machine) -> None:
    machine.start(iio0=("imu", "a", 10), iio1=("imu", "b", 20))
    position = iio(machine, "iio:device0").position
    assert value(iio(machine, "b", position)) == 20
    for damaged in ("x", "[]", "[1, 2]", '[["iio:device1", "in_temp"], 3]', '{"a": 1, "b": 2}', "null"):
        assert value(iio(machine, "iio:device1", damaged)) == 20


def test_two_disks_whose_numbers_are_exchanged_are_told_apart(machine: Machine) -> None:
    machine.start(hwmon0=("nvme", "0000:01:00.0/nvme/nvme0", 30), hwmon1=("nvme", "0000:02:00.0/nvme/nvme1", 40))
    positions = {name: hwmon(machine, name).position for name in ("nvme0/temp1", "hwmon0/temp1", "0000:01:00.0/temp1")}
    machine.start(hwmon0=("nvme", "0000:02:00.0/nvme/nvme0", 40), hwmon1=("nvme", "0000:01:00.0/nvme/nvme1", 30))
    assert [value(hwmon(machine, name, position)) for name, position in positions.items()] == [30, 30, 30]


def test_how_often_a_usb_sensor_was_plugged_in_makes_no_other_of_it(machine: Machine) -> None:
    machine.start(iio0=("als", "usb1/1-2/0003:045E:0A2B.0004/HID-SENSOR-200041.1.auto", 10))
    position = iio(machine, "iio:device0").position
    machine.start(iio3=("als", "usb1/1-2/0003:045E:0A2B.0011/HID-SENSOR-200041.1.auto", 10))
    assert value(iio(machine, "iio:device0", position)) == 10


@pytest.mark.parametrize(
    ("files", "asked", "measured"),
    [
        ({"power1_average": 33e6}, "power1", 33.0),
        ({"power1_average": 33e6, "power1_input": 35e6}, "power1", 35.0),
        ({"energy1_input": 2_500_000}, "energy1", 2.5),
        ({"temp1_input": 40_000, "temp1_fault": 0}, "temp1", 40.0),
    ],
)
def test_what_a_chip_measures_is_listed_and_read(
    tmp_path: Path, files: dict[str, float], asked: str, measured: float
) -> None:
    chip(tmp_path, files)
    assert known_sensors(tmp_path) == [f"amdgpu/{asked}"]
    assert find_probe(tmp_path, f"amdgpu/{asked}").read() == measured


@pytest.mark.parametrize("file", ["freq1_input", "in0_lcrit_alarm", "temp_input", "pwm1", "tempx_input", "temp1_max"])
def test_what_is_no_measured_value_is_neither_listed_nor_read(tmp_path: Path, file: str) -> None:
    chip(tmp_path, {file: 1})
    with pytest.raises(TransportError, match="there are no sensors"):
        find_probe(tmp_path, f"amdgpu/{file.rpartition('_')[0] or file}")


def test_a_value_that_the_chip_itself_calls_wrong_is_an_error(tmp_path: Path) -> None:
    chip(tmp_path, {"temp1_input": -128_000, "temp1_fault": 1})
    with pytest.raises(TransportError, match="temp1_fault says that the sensor is at fault"):
        find_probe(tmp_path, "amdgpu/temp1").read()


def chip(root: Path, files: dict[str, float]) -> None:
    directory = root / "hwmon" / "hwmon5"
    directory.mkdir(parents=True)
    (directory / "name").write_text("amdgpu\n")
    for file, number in files.items():
        (directory / file).write_text(f"{number:.0f}\n")
