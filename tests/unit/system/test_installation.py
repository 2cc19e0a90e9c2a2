"""Remedies name the command that works for this installation."""

import importlib.metadata
import importlib.util
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from learnae.system.installation import how_to_install


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata of the one distribution that Python finds."""
    metadata = tmp_path / "learnae-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: learnae\nVersion: 0.1.0\n")
    (tmp_path / "pip").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert importlib.metadata.version("learnae") == "0.1.0"
    return metadata


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({"url": "file:///src/learnae", "dir_info": {"editable": True}}, "pip install -e '/src/learnae[serial]'"),
        ({"url": "file:///my%20src/l", "dir_info": {}}, "pip install '/my src/l[serial]'"),
        ({"url": "file:///p/l-1-py3.whl", "archive_info": {}}, "pip install 'learnae[serial] @ file:///p/l-1-py3.whl'"),
        (
            {"url": "https://example.org/l.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}},
            "pip install 'learnae[serial] @ git+https://example.org/l.git@ab12'",
        ),
    ],
)
def test_the_command_installs_from_where_learnae_came(installed: Path, origin: dict[str, Any], command: str) -> None:
    (installed / "direct_url.json").write_text(json.dumps(origin))
    assert how_to_install("serial") == command
    plain = shlex.split(command.replace("[serial]", ""))
    assert shlex.split(how_to_install()) == plain


@pytest.mark.usefixtures("installed")
def test_no_name_is_given_to_an_index() -> None:
    origin = "pip install the checkout or wheel that learnae was installed from"
    assert how_to_install("serial") == f"{origin}, with [serial]"
    assert how_to_install() == origin


def test_metadata_of_a_checkout_does_not_hide_where_it_was_installed_from(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installed / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {}}')
    checkout = tmp_path / "checkout" / "learnae.egg-info"
    checkout.mkdir(parents=True)
    (checkout / "PKG-INFO").write_text("Name: learnae\nVersion: 0.1.0\n")
    monkeypatch.setattr("sys.path", [str(checkout.parent), *sys.path])
    assert how_to_install("serial") == "pip install '/src[serial]'"


UV = '[tool]\nrequirements = [{ name = "learnae", extras = ["agent"], path = "/src" }, { name = "x" }]\n'
PIPX = json.dumps({"main_package": {"package": "learnae", "package_or_url": "/src[agent,ipfs]"}})


@pytest.mark.parametrize(
    ("file", "content", "command"),
    [
        ("uv-receipt.toml", UV, "uv tool install '/src[serial,agent]'"),
        ("pipx_metadata.json", PIPX, "pipx install --force '/src[serial,ipfs,agent]'"),
        ("pipx_metadata.json", "{", "uv pip install --python"),
        ("x", "", "uv pip install --python"),
    ],
)
def test_what_made_the_environment_installs_and_keeps_what_is_there(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, command: str
) -> None:
    (installed / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {}}')
    (tmp_path / "pip").rmdir()
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    (tmp_path / file).write_text(content)
    assert how_to_install("serial").startswith(command)


def test_in_an_environment_that_is_not_the_shells_its_own_pip_is_named(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installed / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {}}')
    monkeypatch.setenv("PATH", "/usr/bin")
    assert how_to_install("serial") == f"{sys.executable} -m pip install '/src[serial]'"


@pytest.mark.parametrize("python", [(3, 11, 0), (3, 12, 0)])
@pytest.mark.parametrize(("wanted", "here"), [("agent", "jax"), ("trainer", "tflite_runtime")])
def test_a_role_beside_the_other_gets_the_extras_that_share_a_numpy(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, here: str, python: tuple[int, ...]
) -> None:
    (installed / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {}}')
    monkeypatch.setattr("sys.version_info", python)
    monkeypatch.delitem(sys.modules, here, raising=False)
    assert how_to_install(wanted) == f"pip install '/src[{wanted}]'"
    (tmp_path / here).mkdir()
    (tmp_path / here / "__init__.py").touch()
    importlib.invalidate_caches()
    both = "trainer,agent-litert" if python < (3, 12) else wanted
    assert how_to_install(wanted) == f"pip install '/src[{both}]'"
