"""A program's own loop among real processes: beside stock trainers, killed and started again, and what leaves it."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mosquitto import Mosquitto
from nightly import TORCH_PYTHON, how_many
from programs import NO_FLOORS, PATIENCE, Programs, clean_environment, wait_for

import learnae
from learnae.errors import ConfigurationError, StateError
from learnae.swarm.directory import create_swarm, find_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

CONFIGURATION = 78
EXAMPLE = Path(__file__).parents[3] / "examples" / "beside_trainers.py"

nightly = pytest.mark.skipif(not how_many(0, 1), reason="loads Keras or PyTorch: make nightly")


@pytest.fixture(autouse=True)
def _home(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(programs.home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(programs.config))


def parameters_file(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "model.npz", **(arrays or {"w": np.ones((2, 3)), "seen": np.array(3)}))
    return folder / "model.npz"


def test_a_swarm_of_parameters_is_made_and_trainers_and_agents_say_that_it_is_not_theirs(
    programs: Programs, tmp_path: Path
) -> None:
    file = parameters_file(tmp_path)
    said = programs.run("learnae", "swarm", "create", "--parameters", file, "--membership", "open")
    assert said.returncode == 0, said.stderr
    assert "6 parameters" in said.stdout
    assert "none, and no trainers: members' own programs train it" in said.stdout
    manifest = find_swarm("model").manifest
    assert (manifest.merge.rule, manifest.codec.delta, manifest.name) == ("trimmed", "q8", "model")
    refusal = (
        "of swarm 'model' only the parameters are known: members' own programs train it; join it with learnae.join"
    )
    for role in ("trainer", "agent"):
        refused = programs.run("learnae", "join", "--role", role, "--accept", "foreign_start")
        assert (refused.returncode, refusal in refused.stderr) == (CONFIGURATION, True), refused.stderr
        config = tmp_path / f"{role}.toml"
        source = "data" if role == "trainer" else "source"
        config.write_text(f'[swarm]\nid = "{manifest.swarm}"\n[{source}]\nfile = "{file}"\n')
        started = ("trainer_node", "start") if role == "trainer" else ("agent", "run")
        refused = programs.run(*started, "--config", config)
        assert (refused.returncode, refusal in refused.stderr) == (CONFIGURATION, True), refused.stderr
    for command in (("audit",), ("simulate", "--attack", "zeros", "--swarm", "model")):
        assert "only the parameters are known" in programs.run("learnae", *command).stderr


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: folder / "none.npz", "cannot read"),
        (lambda folder: folder, "cannot read"),
        (lambda folder: _written(folder, b"PK\x03\x04 no archive"), "no .npz file"),
        (lambda folder: _written(folder, b""), "no .npz file"),
        (lambda folder: parameters_file(folder, w=np.array([{}], object)), "no .npz file"),
        (lambda folder: parameters_file(folder, n=np.array(1)), "no parameter of floats"),
        (lambda folder: parameters_file(folder, w=np.array([np.nan])), "cannot be used"),
        (lambda folder: parameters_file(folder, **{"w" * 300: np.ones(1)}), "256"),
    ],
)
def test_files_that_are_no_parameters_are_refused(programs: Programs, tmp_path: Path, make: Any, why: str) -> None:
    refused = programs.run("learnae", "swarm", "create", "--parameters", make(tmp_path))
    assert (refused.returncode, why in refused.stderr) == (CONFIGURATION, True), refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("flags", [("--loss", "huber"), ("--steps", 3), ("--epsilon", 4), ("--classes", "a,b")])
def test_how_it_is_trained_is_no_matter_of_the_swarm(programs: Programs, tmp_path: Path, flags: Any) -> None:
    refused = programs.run("learnae", "swarm", "create", "--parameters", parameters_file(tmp_path), *flags)
    assert (refused.returncode, "--parameters and " in refused.stderr) == (CONFIGURATION, True), refused.stderr


def _written(folder: Path, data: bytes) -> Path:
    (folder / "model.npz").write_bytes(data)
    return folder / "model.npz"


def test_a_loop_that_is_killed_goes_on_from_what_it_has_saved(programs: Programs) -> None:
    """SIGKILL at any moment, twice: the chain of messages goes on, and so do the weights."""
    swarm = learnae.create_swarm("mine", parameters={"w": np.zeros(3)}, membership="open")
    loop = textwrap.dedent("""
        import sys, learnae
        with learnae.join(sys.argv[1], name="loop", settings={"publish.every": 0.01}) as peer:
            weights = peer.weights()
            print("began", weights["w"][0], flush=True)
            while True:
                weights = peer.share({"w": weights["w"] + 0.01}, samples=300)
                print(weights["w"][0], flush=True)
    """)
    environment, last = clean_environment(LEARNAE_HOME=str(programs.home), **NO_FLOORS), 0.0
    for kills in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", loop, swarm], env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout
                began = float(process.stdout.readline().split()[1])
                assert began >= last - 0.02, "what it has shared is saved"
                for _ in range(3 + kills):
                    last = float(process.stdout.readline())
            finally:
                process.send_signal(signal.SIGKILL)
    with learnae.join(swarm, name="loop") as peer:
        status = peer.status()
        assert (status["banned"], status["problems"]) == (False, {})
        assert status["steps"] >= 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "framework",
    [
        "numpy",
        pytest.param("keras", marks=[nightly, pytest.mark.modules("keras", "jax")]),
        pytest.param("torch", marks=[nightly, pytest.mark.skipif(not TORCH_PYTHON, reason="no PyTorch is named")]),
    ],
)
def test_a_loop_beside_stock_trainers_is_as_good_as_they_are(
    programs: Programs, tmp_path: Path, framework: str
) -> None:
    """Only the third member, which trains by a program of its own, has seen the third class."""
    swarm = create_swarm(Manifest("blobs", dense_config(2, (8,), 3, "softmax"), "sparse_categorical_crossentropy"))
    exam, answers = blobs(99, (0, 1, 2))
    tables = [table_of(tmp_path / f"{index}.csv", index, seen) for index, seen in enumerate([(0, 1), (0, 1), (1, 2)])]
    for index in range(2):
        config = tmp_path / f"{index}.toml"
        config.write_text(
            f'[peer]\nname = "stock-{index}"\n[swarm]\nid = "{swarm.manifest.swarm}"\n[data]\n'
            f'file = "{tables[index]}"\n[train]\nengine = "numpy"\n'
        )
        programs.start("trainer_node", "start", "--config", config, pause=0.5)

    def right(peer: str) -> float:
        return float(np.mean(learnae.load(swarm.directory, peer=peer).predict(exam).argmax(axis=1) == answers))

    def is_as_good() -> bool:
        assert loop.poll() is None, "its program has ended"
        if programs.status(f"loop-{framework}").get("seq", 0) < 3:
            return False
        ours, *theirs = map(right, (f"loop-{framework}", "stock-0", "stock-1"))
        return min(theirs) > 0.9 and ours >= max(theirs) - 0.01

    wait_for(lambda: min(programs.status(f"stock-{index}").get("seq", 0) for index in range(2)) > 0, "the trainers")
    environment = programs.environment(PYTHONPATH=str(EXAMPLE.parents[1]), KERAS_BACKEND="jax")
    python = TORCH_PYTHON if framework == "torch" else sys.executable
    command = [python, EXAMPLE, framework, str(swarm.directory), str(tables[2])]
    with subprocess.Popen(command, env=environment, stderr=(tmp_path / "loop.err").open("wb")) as loop:
        try:
            wait_for(is_as_good, "the loop to be as good as the trainers", 4 * PATIENCE)
        finally:
            loop.kill()
            print((tmp_path / "loop.err").read_text())


def table_of(path: Path, seed: int, classes: tuple[int, ...]) -> Path:
    rows, labels = blobs(seed, classes)
    lines = [f"{x:.5f},{y:.5f},{label}" for (x, y), label in zip(rows, labels, strict=True)]
    path.write_text("\n".join(["x,y,label", *lines, ""]))
    return path


def blobs(seed: int, classes: tuple[int, ...]) -> tuple[Any, Any]:
    """Draw 150 points around each class' place."""
    rng = np.random.default_rng(seed)
    places = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    found = np.repeat(classes, 150)
    return rng.normal(places[found], 0.8), found


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
def test_a_code_brings_a_loop_of_another_machine_in_over_the_broker_that_it_names(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = learnae.create_swarm("mine", parameters={"w": np.zeros(3)})
    settings: dict[str, object] = {"publish.every": 0.5, "privacy.rows": 0, "privacy.draws": 0}
    with Mosquitto(tmp_path / "broker") as broker:
        address = f"mqtt://127.0.0.1:{broker.port}"
        with learnae.join(swarm, name="ann", settings={"mqtt.broker": address, **settings}) as ann:
            ann.share({"w": np.ones(3)}, samples=300)
            code = programs.answer("learnae", "invite", "--address", address)["code"]
            monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "elsewhere"))
            with pytest.raises(StateError, match=r"looking for a member|no member"):
                learnae.join(code, name="bob", settings={"mqtt.broker": "mqtt://127.0.0.1:1"}, wait=0.2)
            with pytest.raises(ConfigurationError, match="foreign_start"):
                learnae.join(code, name="bob")
            with learnae.join(code, name="bob", accept=["foreign_start"], settings=settings) as bob:
                wait_for(lambda: bob.weights()["w"][0] > 0.9, "what ann has said", 2 * PATIENCE)
            with pytest.raises(ConfigurationError, match="foreign_start"):
                learnae.join(code, name="bob")
