"""Sensors of the kernel, in a tree like /sys: found by name, read with care, gone and back."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import Watch

from agent.sources.hwmon import find_probe, open_hwmon
from agent.sources.iio import open_iio
from agent.sources.polled import PolledSource, Probe
from learnae.errors import TransportError


def write(path: Path, text: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    write(tmp_path / "thermal/thermal_zone0/type", "cpu-thermal")
    write(tmp_path / "thermal/thermal_zone0/temp", 48312)
    write(tmp_path / "thermal/thermal_zone1/type", "gpu-thermal")
    write(tmp_path / "thermal/thermal_zone1/temp", -1500)
    write(tmp_path / "hwmon/hwmon0/name", "cpu_thermal")
    write(tmp_path / "hwmon/hwmon0/temp1_input", 48000)
    write(tmp_path / "hwmon/hwmon7/name", "board")
    for name, value in (("temp2", 30000), ("in0", 5021), ("fan1", 1200), ("power1", 2500000), ("humidity1", 41000)):
        write(tmp_path / f"hwmon/hwmon7/{name}_input", value)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", 48.312),
        ("thermal_zone1", -1.5),
        ("cpu-thermal", 48.312),
        ("cpu_thermal/temp1", 48.0),
        ("board/temp2", 30.0),
        ("board/in0", 5.021),
        ("board/fan1", 1200.0),
        ("board/power1", 2.5),
        ("board/humidity1", 41.0),
    ],
)
def test_a_sensor_of_the_board_is_found_by_name_and_read_in_its_unit(sysfs: Path, name: str, value: float) -> None:
    assert find_probe(sysfs, name).read() == pytest.approx(value)


@pytest.mark.parametrize("name", ["board/temp9", "board", "nobody/temp1", "board/../temp2", "board/temp2_input"])
def test_a_sensor_that_is_not_there_is_named_with_those_that_are(sysfs: Path, name: str) -> None:
    with pytest.raises(TransportError, match="no sensor") as caught:
        find_probe(sysfs, name)
    assert name in str(caught.value)
    assert "board/in0" in str(caught.value)


def iio(root: Path, number: int, name: str, **files: object) -> Path:
    device = root / f"iio:device{number}"
    write(device / "name", name)
    for file, value in files.items():
        write(device / file, value)
    return device


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    iio(tmp_path, 0, "adc", in_voltage0_raw=512, in_voltage1_raw=10, in_voltage_scale=0.5, in_voltage0_offset=-12)
    iio(
        tmp_path, 1, "imu", in_accel_x_raw=100, in_accel_y_raw=-100, in_accel_scale=0.01, in_anglvel_x_raw=7,
        in_anglvel_x_scale=2, in_temp_input=21500,
    )  # fmt: skip
    return tmp_path


@pytest.mark.parametrize(
    ("device", "names", "values"),
    [
        ("imu", ["in_accel_x", "in_accel_y", "in_anglvel_x", "in_temp"], [1.0, -1.0, 14.0, 21500.0]),
        ("", ["in_accel_x"], [1.0]),
        ("iio:device0", ["in_voltage0", "in_voltage1"], [250.0, 5.0]),
    ],
)
def test_iio_channels_are_read_in_their_units(
    devices: Path, device: str, names: list[str], values: list[float]
) -> None:
    source = open_iio(devices, device, names, 50.0, 0.0)
    assert [probe.read() for probe in source._probes] == values


@pytest.mark.parametrize(("device", "names"), [("adc", ["in_accel_x"]), ("gyro", ["in_accel_x"]), ("", ["in_x"])])
def test_an_iio_device_that_is_not_there_is_named(devices: Path, device: str, names: list[str]) -> None:
    with pytest.raises(TransportError, match=r"iio:device0 \(adc\), iio:device1 \(imu\)"):
        open_iio(devices, device, names, 50.0, 0.0)


def polled(files: list[Path], watch: Callable[[], float]) -> PolledSource:
    return PolledSource([Probe(file) for file in files], 10.0, 0.0, watch)


def test_polling_gives_one_reading_a_period(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "value", 0)
    source, found = polled([file], watch), []
    for number in range(50):
        write(file, number)
        found += source.read().values[:, 0].tolist()
        watch.now += 0.1
    assert np.diff(found).tolist() == [1] * (len(found) - 1)
    assert len(found) >= 45


@pytest.mark.parametrize("text", ["", "nan", "inf", "cold", "\0\0", "1 2"])
def test_what_is_no_number_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "value", text)
    with pytest.raises(TransportError, match=str(file)):
        polled([file], time.time).read()


def test_an_unplugged_sensor_raises_and_another_takes_its_place(sysfs: Path) -> None:
    source = open_hwmon(sysfs, ["board/in0"], 10.0, 0.0)
    source.read()
    shutil.move(sysfs / "hwmon/hwmon7", sysfs / "unplugged")
    with pytest.raises(OSError, match="No such file"):
        source.read()
    with pytest.raises(TransportError):
        open_hwmon(sysfs, ["board/in0"], 10.0, 0.0)
    shutil.move(sysfs / "unplugged", sysfs / "hwmon/hwmon9")  # plugged in again, it has another number
    open_hwmon(sysfs, ["board/in0"], 10.0, 0.0).read()
