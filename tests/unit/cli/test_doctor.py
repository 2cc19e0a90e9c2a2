"""``learnae doctor``: finds what is missing or broken, says the remedy, and its exit status is true."""

import argparse
import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import tiny_manifest

from learnae.cli.commands.look import doctor as module
from learnae.cli.commands.look.doctor import doctor
from learnae.cli.commands.look.trials import try_parts
from learnae.cli.output import console
from learnae.swarm.directory import create_swarm
from learnae.system.installation import how_to_install


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "try_parts", lambda names: dict.fromkeys(names, ""))  # seconds of JAX for each test
    return tmp_path


def examine(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    status = doctor(argparse.Namespace(json=True))
    return status, {finding["thing"]: finding for finding in json.loads(capsys.readouterr().out)}


def take_away(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_a_machine_with_a_swarm_is_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_swarm(tiny_manifest())
    status, found = examine(capsys)
    assert status == 0
    assert {found[name]["state"] for name in ("Python", "numpy", "cryptography", "cbor2", "home", "swarm")} == {"ok"}
    assert found["numpy"]["detail"].startswith(importlib.metadata.version("numpy"))
    assert found["swarm"]["detail"] == "tiny"
    assert str(root) in found["home"]["detail"]


def test_without_a_swarm_the_remedy_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = examine(capsys)
    assert status == 0
    assert found["swarm"]["state"] == "missing"
    assert "learnae swarm create" in found["swarm"]["remedy"]


@pytest.mark.parametrize("content", [b"garbage", b"\xff"])
def test_a_swarm_that_cannot_be_opened_is_broken_and_named(
    root: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    manifest = create_swarm(tiny_manifest()).directory / "manifest.cbor"
    manifest.write_bytes(content)
    status, found = examine(capsys)
    assert (status, found["swarm"]["state"]) == (1, "broken")
    assert found["swarm"]["detail"].startswith(f"{manifest}: ")


def test_a_missing_package_is_no_failure_but_has_a_remedy(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, "safetensors")
    status, found = examine(capsys)
    assert status == 0
    assert found["safetensors"]["state"] == "missing"
    assert found["safetensors"]["remedy"] == how_to_install("trainer")


def test_what_is_installed_and_does_not_work_is_broken_and_says_why(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "typer.py").write_text("raise AttributeError('no\\nStringDType')")
    (root / "serial.py").write_text(
        "import os, sys; sys.stderr.write('first\\nlast\\n'); sys.stderr.flush(); os._exit(3)"
    )
    monkeypatch.setenv("PYTHONPATH", str(root))
    light = ["numpy", "typer", "pyserial"]
    monkeypatch.setattr(module, "try_parts", lambda names: {**dict.fromkeys(names, ""), **try_parts(light)})
    status, found = examine(capsys)
    assert (status, found["numpy"]["state"]) == (1, "ok")
    assert {thing for thing, finding in found.items() if finding["state"] == "broken"} == {"typer", "pyserial"}
    assert found["typer"]["detail"].endswith(" does not work: no StringDType")
    assert found["typer"]["remedy"] == how_to_install("trainer")
    assert found["pyserial"]["detail"].endswith(" does not work: its trial ended with 3: last")


@pytest.mark.modules("jax", "keras")
def test_every_part_here_takes_a_step() -> None:
    heavy = [name for name in ("jax", "keras", "ai-edge-litert", "tflite-runtime") if module._version(name)]
    assert try_parts(["numpy", *heavy]) == dict.fromkeys(["numpy", *heavy], "")


def test_an_old_python_is_broken(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "sys", SimpleNamespace(version_info=(3, 10, 0)))
    status, found = examine(capsys)
    assert status == 1
    assert found["Python"]["state"] == "broken"


def test_a_home_that_cannot_be_written_is_broken(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "access", lambda path, mode: path != root)
    status, found = examine(capsys)
    assert (status, found["home"]["state"]) == (1, "broken")
    assert "LEARNAE_HOME" in found["home"]["remedy"]


@pytest.mark.parametrize(("place", "judged"), [("not/yet", (0, "ok")), ("file", (1, "broken"))])
def test_a_home_that_does_not_exist_yet_is_judged_by_where_it_would_be(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str, judged: tuple[int, str]
) -> None:
    (root / "file").touch()
    monkeypatch.setenv("LEARNAE_HOME", str(root / place))
    status, found = examine(capsys)
    assert (status, found["home"]["state"]) == judged
    assert not (root / "not").exists()


def test_people_get_a_table_with_the_whole_remedies(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, "safetensors")
    monkeypatch.setattr(console, "width", 72)
    assert doctor(argparse.Namespace(json=False)) == 0
    said = capsys.readouterr().out
    assert "there is no swarm on this machine" in said
    assert "create one with: learnae swarm create" in said
    assert how_to_install("trainer") in said


def test_a_banned_peer_is_broken_and_a_status_that_says_nothing_is_passed_over(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"pump": b'{"banned": true}', "fan": b'{"banned": false}', "odd": b"[" * 100_000, "torn": b'{"banned": tr'}
    for name, text in said.items():
        (root / "peers" / name).mkdir(parents=True)
        (root / "peers" / name / "status.json").write_bytes(text)
    (root / "peers" / "new").mkdir()
    status, found = examine(capsys)
    assert status == 1
    assert [thing for thing in found if thing.startswith("peer ")] == ["peer pump"]
    assert found["peer pump"]["state"] == "broken"
    assert "banned for ever" in found["peer pump"]["detail"]
    assert "joins with a new key" in found["peer pump"]["remedy"]


@pytest.mark.modules("segno", "spake2", "zeroconf")
def test_what_codes_need_is_tried() -> None:
    assert try_parts(["segno", "spake2", "zeroconf"]) == {"segno": "", "spake2": "", "zeroconf": ""}
