"""The wheel: what is in it, what is not, and that it stays light where it must."""

import configparser
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest
from programs import clean_environment, succeed

ROOT = Path(__file__).parents[2]
PACKAGES = {"learnae", "agent", "trainer_node", "firmware_bridge"}
PROGRAMS = {
    "learnae": "learnae.__main__",
    "learnae-agent": "agent.start",
    "trainer-node": "trainer_node.start",
    "firmware-bridge": "firmware_bridge.cli",
}


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "unpacked")
    return wheel.parent / "unpacked"


def test_the_wheel_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 4_000_000


def test_data_and_its_notice_are_in_the_wheel(names: set[str]) -> None:
    assert {"learnae/data/shoulder-imu.npz", "learnae/data/NOTICE"} <= names
    assert {f"learnae/dashboard/page/{name}" for name in ("index.html", "uplot.js", "uplot-LICENSE.txt")} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") or name.endswith(".dist-info/LICENSE") for name in names)


def test_every_package_is_typed_and_whole(names: set[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_nothing_else_is_in_the_wheel(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == PACKAGES
    assert not [name for name in names if name.endswith((".pyc", ".orig"))]


def test_firmware_is_in_the_wheel(names: set[str]) -> None:
    firmware = {path.relative_to(ROOT) for path in (ROOT / "firmware_bridge" / "firmware").rglob("*") if path.is_file()}
    assert len(firmware) >= 8
    assert set(map(str, firmware)) <= names


def test_an_sdist_makes_the_same_wheel(names: set[str], wheel_of_sdist: Path) -> None:
    with zipfile.ZipFile(wheel_of_sdist) as archive:
        assert set(archive.namelist()) == names


def test_units_and_examples_go_where_an_installed_agent_looks(names: set[str]) -> None:
    data = {name.split(".data/data/")[1] for name in names if ".data/" in name}
    shipped = [*(ROOT / "systemd").glob("*.service"), *(ROOT / "systemd").glob("*/*.toml")]
    assert data == {f"share/learnae/{path.relative_to(ROOT)}" for path in shipped}


def test_all_programs_are_declared(unpacked: Path) -> None:
    (declared,) = unpacked.glob("*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser()
    parser.read(declared)
    assert dict(parser["console_scripts"]) == {name: f"{module}:main" for name, module in PROGRAMS.items()}


def test_the_shipped_recordings_are_found_in_an_installed_package(unpacked: Path) -> None:
    program = "from learnae.swarm.presets import demo_data; print(len(demo_data().read_bytes()))"
    assert int(run(unpacked, program)) == (ROOT / "learnae" / "data" / "shoulder-imu.npz").stat().st_size


def run(unpacked: Path, program: str) -> str:
    """What ``program`` prints in a fresh interpreter that imports from the unpacked wheel."""
    environment = {**clean_environment(), "PYTHONPATH": os.pathsep.join([str(unpacked), *inherited()])}
    return succeed(sys.executable, "-c", program, cwd=unpacked, env=environment).stdout


def inherited() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("learnae-agent", {"jax", "keras", "requests", "ipfshttpclient", "rich", "typer", "matplotlib", "safetensors"}),
        ("trainer-node", {"jax", "keras", "serial", "matplotlib", "requests", "ipfshttpclient"}),
        ("firmware-bridge", {"numpy", "jax", "keras", "rich", "typer", "requests"}),
        ("learnae", {"jax", "keras", "typer", "serial", "matplotlib", "safetensors", "requests"}),
    ],
)
def test_every_program_starts_and_imports_nothing_heavy(unpacked: Path, name: str, heavy: set[str]) -> None:
    module = PROGRAMS[name]
    program = f"""
import json, sys, {module}
print(json.dumps([{module}.__file__, sorted(sys.modules)]), flush=True)
sys.argv[1:] = ["--help"]
{module}.main()
"""
    first, usage = run(unpacked, program).split("\n", 1)
    file, modules = json.loads(first)
    assert Path(file).is_relative_to(unpacked)
    assert not heavy & {name.split(".")[0] for name in modules}
    assert "usage" in usage.lower()
