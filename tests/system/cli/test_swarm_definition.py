"""All that a manifest holds can be set, by a file and by flags, and what is wrong in either is named."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from programs import Programs, assert_refused

from learnae.cli.commands.swarm.definition import SETTINGS
from learnae.ipld import dagcbor
from learnae.privacy.policy import TrainingPrivacy
from learnae.swarm.directory import open_manifest
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

CONFIGURATION = 78
# of every section another value than the usual one
OTHER: dict[str, dict[str, Any]] = {
    "training": {"steps": 7, "batch": 9},
    "optimiser": {
        "name": "adam", "learning_rate": 0.5, "momentum": 0.25, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.125,
    },
    "merge": {"step": 0.5, "half_life": 1234, "rule": "judged", "momentum": 0.6},
    "codec": {"keyframe": "f32", "delta": "f16", "every": 3},
    "limits": {"horizon": 100_000, "skew": 2000, "interval": 30},
    "privacy": {"epsilon": 4.5, "delta": 1e-4, "releases": 8, "clip": 0.5, "protects": "reading", "partitions": 5},
}  # fmt: skip
NOT_SET = {"v", "created", "membership", "start", "outline"}  # follow from the rest, or are the only ones


def fields_of(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = dagcbor.decode(manifest.to_bytes())
    training = manifest.privacy.training
    return {**found, "merge": asdict(manifest.merge), "privacy": asdict(training or TrainingPrivacy(0.0))}


def toml(sections: dict[str, dict[str, Any]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in of.items())
        for name, of in sections.items()
    )


def made(programs: Programs, *arguments: object) -> Manifest:
    return open_manifest(Path(programs.answer("learnae", "swarm", "create", *arguments)["directory"]))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "m.json").write_text(json.dumps(dense_config(2, (), 2, "softmax")))
    return tmp_path / "m.json"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("--preset", "wrist"), "judged"),
        (("--preset", "hepmass"), "judged"),
        (("--preset", "wrist", "--merge-rule", "mean"), "mean"),
        (("--preset", "wrist", "--summaries", "masked"), "mean"),
        (("--preset", "wrist", "--epsilon", 4), "mean"),
        (("--preset", "wrist-cnn"), "mean"),
        (("--preset", "thermal"), "mean"),
        (("--preset", "wrist", "--summaries", "masked", "--merge-rule", "own"), "own"),
    ],
)
def test_replicas_are_judged_where_there_are_classes_and_summaries(
    programs: Programs, arguments: tuple[object, ...], rule: str
) -> None:
    merge = made(programs, *arguments).merge
    assert merge.rule == rule
    assert merge.momentum == (0.0 if "--epsilon" in arguments else 0.3)


def test_own_rows_decide_nothing_where_each_tale_of_them_is_paid_for(programs: Programs) -> None:
    refused = programs.run("learnae", "swarm", "create", "--preset", "thermal", "--merge-rule", "own", "--epsilon", 4)
    assert refused.returncode
    assert "merge.rule own takes a model that all can compute, and no privacy.epsilon" in refused.stderr


def test_a_file_sets_every_field(programs: Programs, model: Path, tmp_path: Path) -> None:
    swarm = {
        "model": "m.json", "loss": "sparse_categorical_crossentropy", "name": "pump", "seed": 5,
        "classes": ["good", "bad"], "columns": ["flow", "heat"],
    }  # fmt: skip
    (tmp_path / "pump.toml").write_text("\ufeff" + toml({"swarm": swarm, **OTHER}))
    found = fields_of(made(programs, "--from", tmp_path / "pump.toml"))
    usual = fields_of(Manifest("m", dense_config(2, (), 2, "softmax"), "sparse_categorical_crossentropy"))
    assert {name: found[name] for name in OTHER} == OTHER
    assert all(found[name][key] != usual[name][key] for name, of in OTHER.items() for key in of)
    assert {name: list(found[name]) for name in OTHER} == {name: list(usual[name]) for name in OTHER}
    assert {key: value for key, value in swarm.items() if key != "model"} == {
        key: found[key] for key in swarm if key != "model"
    }
    assert set(found) - NOT_SET == {*OTHER, *swarm, "features"}


def test_features_are_a_section_or_a_file_beside_it(programs: Programs, tmp_path: Path) -> None:
    features = {"kind": "raw-window", "channels": ["level"], "rate": 0.5, "window": 2, "hop": 1, "ahead": 1}
    swarm = {"model": "tide.json", "loss": "huber", "name": "tide"}
    config = dense_config(2, (), 1, "linear")
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 2, 1]
    config["config"]["layers"].insert(1, {"class_name": "Flatten", "config": {}})
    (tmp_path / "tide.json").write_text(json.dumps(config))
    (tmp_path / "a.toml").write_text(toml({"swarm": swarm, "features": features}))
    (tmp_path / "f.json").write_text(json.dumps(features))
    (tmp_path / "b.toml").write_text(toml({"swarm": {**swarm, "features": "f.json", "name": "tide-2"}}))
    first, second = made(programs, "--from", tmp_path / "a.toml"), made(programs, "--from", tmp_path / "b.toml")
    assert first.features == second.features
    assert first.features is not None
    assert first.features.to_fields() == {**features, "shift": [0.0], "scale": [1.0]}


def test_flags_set_every_policy_and_win_over_the_file(programs: Programs, model: Path, tmp_path: Path) -> None:
    assert {key for key, _, _ in SETTINGS.values()} | {"optimiser.name", "optimiser.learning_rate"} == {
        "swarm.seed", "swarm.summaries", *(f"{name}.{key}" for name, of in OTHER.items() for key in of),
    }  # fmt: skip
    flags: list[object] = ["--seed", 5, "--optimiser", "adam", "--learning-rate", 0.5]
    for flag, (key, _, _) in SETTINGS.items():
        section, _, name = key.partition(".")
        flags += [flag, OTHER[section][name]] if section in OTHER else []
    (tmp_path / "pump.toml").write_text('[training]\nbatch = 100\n[swarm]\npreset = "hepmass"\nname = "mine"\n')
    manifest = made(programs, "--from", tmp_path / "pump.toml", *flags)
    found = fields_of(manifest)
    assert {name: found[name] for name in OTHER} == OTHER
    assert (manifest.name, manifest.seed) == ("mine", 5)


def test_summaries_are_masked_in_a_swarm_of_members(programs: Programs) -> None:
    assert made(programs, "--preset", "wrist", "--summaries", "masked").privacy.summary.sharing == "masked"


def test_another_optimiser_has_its_own_usual_rate(programs: Programs) -> None:
    manifest = made(programs, "--preset", "wrist", "--optimiser", "adam")
    assert (manifest.optimiser.name, manifest.optimiser.learning_rate) == ("adam", 0.001)
    assert made(programs, "--preset", "hepmass", "--batch", 8).optimiser.learning_rate == 0.05


def test_with_differential_privacy_the_usual_is_another(programs: Programs) -> None:
    manifest = made(programs, "--preset", "wrist", "--epsilon", 4, "--protect", "reading")
    assert manifest.privacy.training == TrainingPrivacy(4.0, protects="reading")
    features, optimiser = manifest.features, manifest.optimiser
    assert features is not None
    assert (features.hop, features.window, manifest.training.steps) == (100, 100, 4)
    assert (optimiser.name, optimiser.learning_rate) == ("adam", 0.03)
    done = programs.run("learnae", "join", manifest.swarm, "--name", "p")
    assert "one reading more or less at most epsilon 4 at delta 1e-05" in done.stdout
    assert "windows do not overlap" in done.stdout
    assert "distinct windows" not in done.stdout
    own = made(programs, "--preset", "wrist", "--name", "own", "--epsilon", 4, "--steps", 9, "--learning-rate", 0.5)
    assert (own.training.steps, own.optimiser.name, own.optimiser.learning_rate) == (9, "momentum", 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nbathc = 3", ["pump.toml [training]", "unknown key 'bathc'", "did you mean 'batch'"]),
        ("[trainig]\nbatch = 3", ["unknown section 'trainig'", "did you mean 'training'"]),
        ("batch = 3", ["unknown section 'batch'"]),
        ("[training]\nbatch = 2.5", ["pump.toml: training.batch is 2.5", "type int"]),
        ("[training]\nbatch = 0", ["batch", "0"]),
        ("[merge]\nstep = 1.5", ["step", "1.5"]),
        ("[merge]\nstep = 0", ["merge.step", "0.0", "from 1e-30 to 1"]),
        ("[merge]\nmomentum = 1.0", ["merge.momentum", "1.0", "from 0 to 0.9"]),
        ("[optimiser]\nlearning_rate = 0", ["optimiser.learning_rate", "0.0", "from 1e-30 to 1000"]),
        ("[optimiser]\nname = 'adam'\nepsilon = 0.0", ["optimiser.epsilon", "0.0", "from 1e-30 to 1"]),
        ("[optimiser]\nmomentum = 1", ["optimiser.momentum", "1.0", "from 0 to 0.999999"]),
        ("[codec]\ndelta = 'q9'", ["delta", "q9", "q8", "top10"]),
        ("[codec]\nkeyframe = 'sign'", ["keyframe", "sign", "f32, f16, q8"]),
        ("[optimiser]\nname = 'adamw'", ["adamw", "adam"]),
        ("[limits]\nhorizon = 5", ["horizon", "5"]),
        ("[privacy]\ndelta = 1e-6", ["privacy.delta without privacy.epsilon", "--epsilon"]),
        ("[privacy]\nepsilon = 0", ["privacy.epsilon is 0.0", "from 0.01 to 100"]),
        ("[privacy]\nepsilon = 4\ndelta = 0.5", ["privacy.delta is 0.5", "from 1e-12 to 0.01"]),
        ("[privacy]\nepsilon = 4\nprotects = 'user'", ["privacy.protects", "'user'", "window, reading"]),
        ("[privacy]\nepsilon = 4\npartitions = 0", ["privacy.partitions is 0", "from 1 to 100"]),
        ("[privacy]\npartitions = 4", ["privacy.partitions without privacy.epsilon", "--epsilon"]),
        ("[swarm]\nclasses = [1, 2]", ["swarm.classes holds what is no text"]),
        ("[swarm]\nmodel = 'm.json'\n", ["not both"]),
        ("[swarm]\nsummaries = 'hidden'", ["swarm.summaries is 'hidden'", "each, masked"]),
        ("[swarm]\nsummaries = 'masked'\nmembership = 'open'", ["masked summaries in an open swarm", "--membership"]),
        ("[swarm]\nloss = 'huber'\n", ["a preset takes no --loss"]),
    ],
)
def test_what_is_wrong_in_a_file_is_named(programs: Programs, tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "pump.toml").write_text(text)
    done = programs.run("learnae", "swarm", "create", "--preset", "wrist", "--from", tmp_path / "pump.toml")
    assert_refused(done, CONFIGURATION, *words)
    assert not list(programs.home.glob("swarms/*"))


def test_a_model_that_mixes_rows_is_refused_with_differential_privacy(programs: Programs, tmp_path: Path) -> None:
    config = dense_config(2, (4,), 2, "softmax")
    config["config"]["layers"].insert(2, {"class_name": "BatchNormalization", "config": {}})
    (tmp_path / "m.json").write_text(json.dumps(config))
    said: list[object] = ["--model", tmp_path / "m.json", "--loss", "sparse_categorical_crossentropy"]
    done = programs.run("learnae", "swarm", "create", *said, "--epsilon", 4)
    assert_refused(done, CONFIGURATION, "BatchNormalization", "no --epsilon")
    done = programs.run("learnae", "swarm", "create", *said, "--codec", "sign")
    assert_refused(done, CONFIGURATION, "codec.delta sign", "BatchNormalization", "f32, f16, q8")
    assert not list(programs.home.glob("swarms/*"))
