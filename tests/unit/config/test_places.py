"""Paths in the configuration: one rule for all keys of all programs."""

import dataclasses
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import AgentConfig
from firmware_bridge.config import BridgeConfig, default_socket
from learnae.config.loading import load_config, user_config_directory
from learnae.config.places import located
from learnae.errors import ConfigurationError
from learnae.system.credentials import read_credential
from learnae.system.paths import home
from trainer_node.config import TrainerConfig

KINDS = {"agent": AgentConfig, "trainer": TrainerConfig, "bridge": BridgeConfig}
TEXTS = {"swarm.id", "port.name", "buffer.key", "peer.state"}  # paths whose names do not say so
# what else a section must say for a value to be taken
BESIDE: dict[str, dict[str, Any]] = {
    "mqtt.cert_file": {"key_file": "/k"},
    "mqtt.key_file": {"cert_file": "/c"},
    "mqtt.password_file": {"user": "me"},
    "ipfs.token_file": {"api": "/unix/run/ipfs.sock"},
    "source.socket": {"kind": "bridge"},
    "source.root": {"kind": "hwmon"},
    "source.password_file": {"kind": "mqtt", "topic": "t"},
    "source.ca_file": {"kind": "mqtt", "topic": "t"},
}


def keys() -> Iterator[tuple[str, str, bool]]:
    for role, config in KINDS.items():
        for section, hint in get_type_hints(config).items():
            kind = get_args(hint)[1] if get_origin(hint) is dict else hint
            for field, sort in get_type_hints(kind, include_extras=True).items():
                yield role, f"{section}.{field}", get_origin(sort) is Annotated and isinstance(get_args(sort)[1], str)


PATHS = [(role, key) for role, key, is_path in keys() if is_path and not key.startswith("sources.")]


def loaded(role: str, key: str, text: str, folder: Path) -> str:
    section, _, name = key.partition(".")
    values = {**BESIDE.get(key, {}), name: text}
    lines = [f'{name} = "{value}"' for name, value in values.items()]
    (folder / "c.toml").write_text("\n".join([f"[{section}]", *lines]))
    config: Any = load_config(KINDS[role], role, folder / "c.toml", environment={})
    found: str = getattr(getattr(config, section), name)
    return found


def test_what_is_named_like_a_path_is_one() -> None:
    for _, key, is_path in keys():
        name = key.partition(".")[2]
        assert is_path == (key in TEXTS or name in ("file", "socket", "root") or name.endswith("_file")), key


@pytest.mark.parametrize(("role", "key"), PATHS, ids=str)
def test_every_path_of_a_file_is_relative_to_it_and_knows_homes(
    role: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir("/")
    assert loaded(role, key, "~/some/where", tmp_path) == "/home/me/some/where"
    assert loaded(role, key, "some/where", tmp_path) == str(tmp_path / "some" / "where")
    assert loaded(role, key, "../where", tmp_path) == f"{tmp_path}/../where"
    assert loaded(role, key, "/some/where", tmp_path) == "/some/where"
    with pytest.raises(ConfigurationError, match=r"c\.toml: .*'~nobody-here/x', and ~nobody-here has no home"):
        loaded(role, key, "~nobody-here/x", tmp_path)


def test_a_name_that_is_no_path_stays_a_name(tmp_path: Path) -> None:
    assert loaded("trainer", "swarm.id", "wrist", tmp_path) == "wrist"
    assert loaded("bridge", "port.name", "auto", tmp_path) == "auto"
    (tmp_path / "swarm.cbor").touch()
    assert loaded("trainer", "swarm.id", "swarm.cbor", tmp_path) == str(tmp_path / "swarm.cbor")


def test_what_systemd_hands_over_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed = tmp_path / "handed"
    handed.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    (tmp_path / "password").write_text("beside")
    assert read_credential(loaded("agent", "mqtt.password_file", "password", tmp_path), "k") == "beside"
    (handed / "learnae_password").write_text("handed")
    assert read_credential(loaded("agent", "mqtt.password_file", "password", tmp_path), "k") == "handed"


def test_the_environment_and_flags_know_homes_and_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.toml").touch()
    monkeypatch.setenv("HOME", "/home/me")
    environment = {"LEARNAE_PEER__STATE": "~/state", "LEARNAE_DATA__FILE": "a.npz"}
    config = load_config(TrainerConfig, "none", tmp_path / "empty.toml", {"swarm.id": "~/swarm"}, environment)
    assert (config.peer.state, config.data.file, config.swarm.id) == ("/home/me/state", "a.npz", "/home/me/swarm")


def test_variables_that_are_paths_know_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for variable, found in (("LEARNAE_BRIDGE", default_socket), ("XDG_CONFIG_HOME", user_config_directory)):
        monkeypatch.setenv(variable, "~/x")
        assert Path("/home/me/x") in (found(), found().parent)
    monkeypatch.setenv("LEARNAE_HOME", "~/data")
    assert home() == Path("/home/me/data")
    monkeypatch.setenv("LEARNAE_HOME", "~nobody-here/data")
    with pytest.raises(ConfigurationError, match="LEARNAE_HOME is '~nobody-here/data'"):
        home()


@given(st.text(string.ascii_letters + "/.-_ ", max_size=20), st.sampled_from(dataclasses.fields(AgentConfig)))
def test_what_is_no_path_is_never_changed(text: str, field: Any) -> None:
    assert located(text, str, Path("/etc"), field.name) == text


@pytest.mark.parametrize("key", ["peer.state", "source.file", "swarm.id", "mqtt.password_file"])
def test_what_no_path_can_hold_is_named(key: str, tmp_path: Path) -> None:
    section, name = key.split(".")
    assert f"{key} is 'a\\x00b'" in refused(f'[{section}]\n{name} = "a\\u0000b"\n'.encode(), tmp_path / "c.toml")


@pytest.mark.parametrize("address", ["mqtt://a\\nb", "mqtt://a b", "mqtt://a\\u0000", "mqtt://a\\u200b.example"])
def test_an_address_with_a_sign_that_none_has_is_refused_and_not_shortened(address: str, tmp_path: Path) -> None:
    assert "mqtt.broker is" in refused(f'[mqtt]\nbroker = "{address}"\n'.encode(), tmp_path / "c.toml")


# -- how files of other systems begin, end, and hide signs


def refused(data: bytes, path: Path) -> str:
    path.write_bytes(data)
    with pytest.raises(ConfigurationError) as caught:
        load_config(AgentConfig, "agent", path, environment={})
    return str(caught.value)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_files_of_windows_are_read(mark: bytes, end: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(mark + b'[peer]\nname = "a"\n\n[publish]\nevery = 3\n'.replace(b"\n", end))
    config = load_config(AgentConfig, "agent", tmp_path / "c.toml", environment={})
    assert (config.peer.name, config.publish.every) == ("a", 3.0)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    for mark, encoding in ((b"", "utf-16"), (b"\xfe\xff", "utf-16-be"), (b"", "utf-16-le"), (b"", "utf-16-be")):
        said = refused(mark + "[peer]\n".encode(encoding), tmp_path / "c.toml")
        assert "its text is UTF-16; save it as UTF-8" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[peer]\n\u00a0name = 'a'", "U+00A0 (no-break space) in column 1"),
        ("[peer]\nname\u200b = 'a'", "U+200B (zero width space) in column 5"),
        ("[peer]\nfollow = 1\n\ufeff[publish]\n", "U+FEFF (zero width no-break space) in column 1"),
        ("[peer]\r\nname =\u2003'a'\r\n", "U+2003 (em space) in column 7"),
        ("[peer]\nname = 'a\0'\n", "U+0000 (a control character)"),
        ("[peer]\nname = \u201ca\u201d\n", "mend that line"),
    ],
)
def test_a_sign_that_no_editor_shows_is_named(text: str, words: str, tmp_path: Path) -> None:
    assert words in refused(text.encode(), tmp_path / "c.toml")


def test_a_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    assert read_credential(str(tmp_path / "password"), "mqtt.password_file") == "secret"
