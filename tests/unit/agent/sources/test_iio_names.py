"""Linux IIO by the kernel's ABI: which files belong to a channel, whatever its name is made of."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.iio import open_iio
from learnae.errors import TransportError

TYPES = ("voltage", "accel", "angl", "anglvel", "temp", "ph", "phase", "concentration", "intensity")
NAMES = ("", "supply", "i", "linear", "co2", "from_north_magnetic_tilt_comp", "sqrt(x^2+y^2)", "x|y", "vcc_2v5", "both")


@dataclass(frozen=True)
class Channel:
    """A channel as a driver declares it, with the names of its attributes as the kernel's core builds them."""

    type: str
    index: str
    other: str  # index of a differential channel's second input
    name: str
    axis: str
    kind: str

    def _join(self, *parts: str) -> str:
        return "_".join(filter(None, parts))

    @property
    def own(self) -> str:
        minus = f"-{self.type}{self.other}" if self.other else ""
        return self._join(f"in_{self.type}{self.index}{minus}", self.name, self.axis)

    @property
    def asked(self) -> str:
        return self._join(self.own, self.kind)

    def owners(self) -> list[str]:
        """Return whose scale serves it, the nearest first."""
        kinds = [f"{self.type}-{self.type}"] if self.other else []
        parts = list(dict.fromkeys([self._join(self.name, self.axis), self.name, ""]))
        shared = [self._join("in", kind, part) for kind, part in itertools.product([*kinds, self.type], parts)]
        return list(dict.fromkeys([self.own, *shared, "in", ""]))


@st.composite
def channels(draw: st.DrawFn) -> Channel:
    index = draw(st.sampled_from(["", "0", "7", "12"]))
    return Channel(
        draw(st.sampled_from(TYPES)),
        index,
        draw(st.sampled_from(["", "1", "13"])) if index else "",
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from(["", "x", "y", "z"])),
        draw(st.sampled_from(["", "peak", "mean", "trough"])),
    )


def read(files: dict[str, float], name: str) -> float:
    with TemporaryDirectory() as root:
        device = Path(root) / "iio:device0"
        device.mkdir()
        for file, value in {"name": "adc", **files}.items():
            (device / file).write_text(f"{value}\n")
        return open_iio(Path(root), "adc", [name], 1.0, 0.0)._probes[0].read()


@given(channels(), st.data())
def test_the_nearest_scale_and_offset_serve_a_channel(channel: Channel, data: st.DataObject) -> None:
    owners = channel.owners()
    present = data.draw(st.lists(st.sampled_from(owners), unique=True, min_size=1))
    offsets = data.draw(st.lists(st.sampled_from(owners), unique=True))
    files = {f"{owner}_scale".lstrip("_"): 2.0 + owners.index(owner) for owner in present}
    files |= {f"{owner}_offset".lstrip("_"): 100.0 + owners.index(owner) for owner in offsets}
    scale = 2.0 + min(map(owners.index, present))
    offset = 100.0 + min(map(owners.index, offsets)) if offsets else 0.0
    assert read({**files, f"{channel.asked}_raw": 7}, channel.asked) == pytest.approx((7 + offset) * scale)


@given(channels(), channels())
def test_another_channels_scale_serves_none_but_is_missed_in_its_own_kind(one: Channel, other: Channel) -> None:
    foreign = f"{other.own}_scale"
    if other.own in one.owners():
        return
    files = {f"{one.asked}_raw": 7, foreign: 3}
    if other.type != one.type:
        assert read(files, one.asked) == 7
        return
    with pytest.raises(TransportError) as caught:
        read(files, one.asked)
    assert foreign in str(caught.value)


@given(channels())
def test_what_the_driver_has_converted_is_taken_as_it_is(channel: Channel) -> None:
    files = {f"{channel.asked}_input": 21500, f"{channel.asked}_raw": 7, f"{channel.own}_scale": 3}
    assert read(files, channel.asked) == 21500


@pytest.mark.parametrize(("scales", "value"), [((), 40.0), (("in_accel_peak",), 60.0), (("in_accel_x_peak",), 60.0)])
def test_a_peak_has_a_scale_of_its_own_where_there_is_one(scales: tuple[str, ...], value: float) -> None:
    files = {"in_accel_x_peak_raw": 20.0, "in_accel_scale": 2.0} | {f"{name}_scale": 3.0 for name in scales}
    assert read(files, "in_accel_x_peak") == value


@pytest.mark.parametrize(
    "name", ["in_anglvel_z_quadrature_correction", "in_voltage0-current1", "out_voltage0", "in_Voltage0"]
)
def test_what_is_no_measured_channel_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(TransportError, match=r"iio:device0 has in_temp, in_voltage1$"):
        read({f"{name}_raw": 7, "in_temp_input": 1, "in_voltage1_raw": 1}, name)


def test_a_range_that_changes_is_followed_and_none_is_an_error(tmp_path: Path) -> None:
    device = tmp_path / "iio:device0"
    device.mkdir()
    (device / "in_accel_x_raw").write_text("100")
    (device / "in_accel_scale").write_text("0.5")
    (probe,) = open_iio(tmp_path, "", ["in_accel_x"], 1.0, 0.0)._probes
    assert probe.read() == 50
    (device / "in_accel_scale").write_text("0.25")
    assert probe.read() == 25
    (device / "in_accel_scale").write_text("0.0")
    with pytest.raises(TransportError, match="in_accel_scale is 0"):
        probe.read()
