"""Configuration: which source wins, and that every mistake is named."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from agent.config import AgentConfig
from firmware_bridge.config import BridgeConfig
from learnae.config import loading as module
from learnae.config.loading import config_files, load_config, user_config_directory
from learnae.errors import ConfigurationError
from trainer_node.config import TrainerConfig


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(path: Path | None = None, environment: Mapping[str, str] | None = None, **flags: object) -> AgentConfig:
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return load_config(AgentConfig, "agent", path, named, environment or {})


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The machine's and the user's configuration file, neither of which exists yet."""
    found = [tmp_path / "etc" / "agent.toml", tmp_path / "user" / "agent.toml"]
    monkeypatch.setattr(module, "config_files", lambda role: found)
    return found


def refused(text: str, path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(write(path, text))
    return str(caught.value)


def test_without_any_source_there_are_defaults(places: list[Path]) -> None:
    assert load() == AgentConfig()


def test_each_layer_wins_over_the_one_before(places: list[Path]) -> None:
    etc, user = places
    write(etc, '[source]\nfile = "/etc"\nspeed = 1.5\nholdout = 0.1\n[publish]\nevery = 1.0\n[peer]\nname = "etc"')
    write(user, "[source]\nspeed = 2.5\nholdout = 0.2\n[publish]\nevery = 2.0\n[peer]\nfollow = 2")
    environment = {"LEARNAE_SOURCE__HOLDOUT": "0.3", "LEARNAE_PUBLISH__EVERY": "3"}
    loaded = load(None, environment, publish__every=4.0, peer__name=None)
    assert loaded.source.file == "/etc"  # only in the machine's file
    assert loaded.source.speed == 2.5  # the user's file wins over it
    assert loaded.source.holdout == 0.3  # the environment wins over both
    assert loaded.publish.every == 4.0  # a flag wins over all
    assert (loaded.peer.name, loaded.peer.follow) == ("etc", 2)  # a flag that was not given wins over nothing


def test_a_file_that_was_asked_for_replaces_both_usual_ones(places: list[Path], tmp_path: Path) -> None:
    for place in places:
        write(place, '[peer]\nname = "usual"\nfollow = 3')
    asked = write(tmp_path / "asked.toml", '[peer]\nname = "asked"')
    assert load(asked).peer.name == "asked"
    assert load(asked).peer.follow == 0


def test_usual_places_are_the_machine_then_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_files("agent") == [Path("/etc/learnae/agent.toml"), tmp_path / "learnae" / "agent.toml"]
    monkeypatch.setenv("XDG_CONFIG_HOME", "")  # as good as not set, says the XDG specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_config_directory() == tmp_path / ".config" / "learnae"


def test_the_environment_of_other_programs_is_left_alone(places: list[Path]) -> None:
    environment = {"LEARNAE_DATA__FILE": "a.npz", "LEARNAE_PORT__NAME": "x", "LEARNAE_PUBLISH__EVERY": "3"}
    assert load(None, environment).publish.every == 3.0
    assert load_config(BridgeConfig, "bridge", None, {}, environment).port.name == "x"
    with pytest.raises(ConfigurationError, match="unknown section 'publsih'; did you mean 'publish'"):
        load(None, {"LEARNAE_PUBLSIH__EVERY": "3"})


def test_the_sections_of_all_programs_are_known() -> None:
    kinds = (AgentConfig, TrainerConfig, BridgeConfig)
    assert {field.name for kind in kinds for field in fields(kind)} == module.SECTIONS


def test_the_processs_own_environment_is_used_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch, places: list[Path]
) -> None:
    monkeypatch.setenv("LEARNAE_PEER__FOLLOW", "7")
    assert load_config(AgentConfig, "agent").peer.follow == 7
    assert load(None, {}).peer.follow == 0


def test_text_from_the_environment_becomes_what_the_key_needs(places: list[Path]) -> None:
    loaded = load(None, {"LEARNAE_PEER__FOLLOW": "5", "LEARNAE_PUBLISH__EVERY": "0.25", "LEARNAE_PEER__NAME": "12"})
    assert (loaded.peer.follow, loaded.publish.every, loaded.peer.name) == (5, 0.25, "12")
    assert type(loaded.peer.follow) is int
    assert type(loaded.publish.every) is float


def test_other_variables_are_no_configuration(places: list[Path]) -> None:
    others = {"LEARNAE_HOME": "/x", "LEARNAE_REQUIRE_ENGINES": "1", "OTHER_PEER__NAME": "x", "PEER__NAME": "x"}
    assert load(None, others) == AgentConfig()


def test_an_empty_variable_is_as_good_as_not_set(tmp_path: Path) -> None:
    path = write(tmp_path / "agent.toml", "[peer]\nname = 'pump'")
    empty = {"LEARNAE_PEER__NAME": "", "LEARNAE_PUBLISH__EVERY": "", "LEARNAE_PUBLIHS__EVERY": ""}
    assert load(path, empty) == load(path, {})


@pytest.mark.parametrize("name", ["LEARNAE_PEER__FOLLOW", "LEARNAE_PUBLISH__EVERY"])
def test_a_variable_of_the_wrong_type_is_named(places: list[Path], name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}.*'many'.*must be of type (int|float)"):
        load(None, {name: "many"})


def test_a_misspelt_variable_is_named_with_the_nearest_key(places: list[Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"LEARNAE_PUBLISH__EVREY.*did you mean 'every'"):
        load(None, {"LEARNAE_PUBLISH__EVREY": "1"})
    with pytest.raises(ConfigurationError, match=r"LEARNAE_PUBLIHS__EVERY.*did you mean 'publish'"):
        load(None, {"LEARNAE_PUBLIHS__EVERY": "1"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sorce]\nspeed = 1", ["unknown section 'sorce'", "did you mean 'source'"]),
        ("[source]\nspede = 1", ["[source]", "unknown key 'spede'", "did you mean 'speed'"]),
        ("[source]\nxyzzy = 1", ["unknown key 'xyzzy'", "file, speed, holdout"]),
        ("[xyzzy]\nfile = 1", ["unknown section 'xyzzy'", "known are peer, swarm, source"]),
        ("peer = 3", ["peer is not a section", "write [peer]"]),
        ("[[peer]]\nname = 'a'", ["peer is not a section"]),
    ],
)
def test_unknown_names_are_errors_that_say_what_is_known(text: str, words: list[str], tmp_path: Path) -> None:
    said = refused(text, tmp_path / "agent.toml")
    for word in [str(tmp_path / "agent.toml"), *words]:
        assert word in said


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ("[peer]\nname = 5", "peer.name", "str"),
        ("[peer]\nfollow = 1.5", "peer.follow", "int"),
        ("[peer]\nfollow = true", "peer.follow", "int"),
        ("[publish]\nevery = true", "publish.every", "float"),
        ("[publish]\nevery = []", "publish.every", "float"),
        ("[source]\nfile = ['a']", "source.file", "str"),
        ("[source]\nfile = 2026-01-01", "source.file", "str"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(text: str, key: str, wanted: str, tmp_path: Path) -> None:
    said = refused(text, tmp_path / "agent.toml")
    assert key in said
    assert f"must be of type {wanted}" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("monitor = true", 'mqtt.monitor is True; use "plain", "sealed" or "off"'),
        ("monitor = 1", 'mqtt.monitor is 1; use "plain", "sealed" or "off"'),
        ("monitor = 'none'", "mqtt.monitor is 'none'; use plain, sealed or off"),
        ("monitor = 'sealed'\nhome_assistant = true", "mqtt.home_assistant is true, and mqtt.monitor is sealed;"),
        ("monitor = 'off'\nhome_assistant = true", "mqtt.home_assistant is true, and mqtt.monitor is off;"),
    ],
)
def test_how_a_peer_is_shown_is_one_of_three_words(text: str, said: str, tmp_path: Path) -> None:
    assert said in refused(f"[mqtt]\n{text}", tmp_path / "agent.toml")


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    every = load(write(tmp_path / "agent.toml", "[publish]\nevery = 2")).publish.every
    assert every == 2.0
    assert type(every) is float


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[peer]\nfollow = -1", "peer.follow"),
        ("[source]\nspeed = -0.5", "source.speed"),
        ("[source]\nspeed = nan", "source.speed"),
        ("[source]\nholdout = 1.0", "source.holdout"),
        ("[source]\nholdout = -0.1", "source.holdout"),
        ("[source]\nholdout = nan", "source.holdout"),
        ("[publish]\nevery = -1", "publish.every"),
        ("[publish]\nevery = nan", "publish.every"),
        ("[publish]\nevery = 86401", "publish.every"),
    ],
)
def test_a_value_out_of_range_is_named(text: str, key: str, tmp_path: Path) -> None:
    assert key in refused(text, tmp_path / "agent.toml")


def test_the_trainer_checks_its_share_of_held_out_rows() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.holdout"):
        load_config(TrainerConfig, "trainer", None, {"data.holdout": 1.0}, {})


def test_a_file_that_is_no_toml_is_named_with_its_line(tmp_path: Path) -> None:
    said = refused("[peer]\nname = ?\n", tmp_path / "agent.toml")
    assert "agent.toml is not TOML" in said
    assert "line 2" in said


def test_bytes_that_are_no_text_are_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(b"[peer]\nname = '\xff'")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(path)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "[publish]\nevery = 1" + "0" * 400], ids=["nesting", "digits"])
def test_excessive_values_are_configuration_errors(text: str, tmp_path: Path) -> None:
    refused(text, tmp_path / "agent.toml")


@pytest.mark.parametrize("what", ["absent", "directory", "pipe"])
def test_an_unreadable_file_is_named(what: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    if what == "directory":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(ConfigurationError, match=rf"cannot read {path}: (No such file|Is a directory|not a file)"):
        load(path)


def test_an_oversized_file_is_no_configuration(tmp_path: Path) -> None:
    largest = write(tmp_path / "agent.toml", "#" * (1 << 20))
    assert load(largest) == AgentConfig()
    assert "bytes" in refused("#" * ((1 << 20) + 1), tmp_path / "agent.toml")


# -- several sections of one kind


def test_any_number_of_sources_each_with_a_name(tmp_path: Path) -> None:
    text = (
        '[source]\nfile = "a.npz"\n[sources.pump]\nkind = "iio"\nchannels = { ax = "in_accel_x" }\n'
        '[sources.room]\nkind = "hwmon"\n'
    )
    environment = {"LEARNAE_SOURCES__ROOM__HOLDOUT": "0.5", "LEARNAE_SOURCES__NEW__FILE": "b.npz"}
    loaded = load(write(tmp_path / "agent.toml", text), environment)
    found = loaded.all_sources()
    assert {name: section.kind for name, section in found.items()} == {
        "source": "replay", "pump": "iio", "room": "hwmon", "new": "replay",
    }  # fmt: skip
    assert found["pump"].channels == {"ax": "in_accel_x"}
    assert (found["room"].holdout, found["new"].file) == (0.5, "b.npz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sources.pump]\nspede = 1", ["[sources.pump]", "unknown key 'spede'", "did you mean 'speed'"]),
        ("[sources]\npump = 1", ["sources.pump is not a section"]),
        ("sources = 1", ["sources is not a section"]),
        ("[sources.pump]\nspeed = 'x'", ["sources.pump.speed"]),
        ("[sources.pump]\nkind = 'usb'", ["[sources.pump]", "kind is 'usb'", "hwmon"]),
        ("[sources.pump]\nchannels = 'ax'", ["sources.pump.channels", "dict"]),
        ("[sources.pump]\nkind = 'iio'\nchannels = { ax = 1 }", ["[sources.pump]", "channels"]),
        ("[sources.pump]\nkind = 'iio'\nfile = 'x.npz'", ["file means nothing", "'iio'", "replay"]),
        ("[source]\nhold = 5.0", ["source.hold means nothing", "bridge, mqtt, iio, hwmon"]),
        ("[source]\nkind = 'hwmon'\nhold = -1.0", ["source.hold is -1"]),
        ("[source]\nkind = 'mqtt'", ["no topic"]),
        ("[source]\nkind = 'mqtt'\ndevice = 'x'", ["device", "zigbee2mqtt or tasmota"]),
        ("[source]\nkind = 'mqtt'\npayload = 'xml'\ntopic = 'a'", ["payload is 'xml'", "senml"]),
        ("[buffer]\nreadings = 0", ["buffer.readings"]),
        ("[buffer]\nmegabytes = 0.0", ["buffer.megabytes"]),
        ("[resources]\ncpu = -1.0", ["resources.cpu"]),
        ("[inference]\npercentile = 100.0", ["inference.percentile", "99.9"]),
        ("[inference]\npercentile = nan", ["inference.percentile", "50"]),
    ],
)
def test_mistakes_in_sources_are_named(text: str, words: list[str], tmp_path: Path) -> None:
    said = refused(text, tmp_path / "agent.toml")
    for word in words:
        assert word in said


def test_no_source_and_too_many_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no source"):
        AgentConfig().all_sources()
    many = {f"LEARNAE_SOURCES__S{index}__FILE": "x" for index in range(17)}
    with pytest.raises(ConfigurationError, match="17 sources"):
        load(None, many).all_sources()
