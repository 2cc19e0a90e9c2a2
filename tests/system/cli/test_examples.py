"""The examples run as they stand."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from nightly import TORCH_PYTHON, how_many
from programs import clean_environment, succeed

from learnae.adapters.local.status_file import StatusFile
from learnae.models.dataset import Dataset
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATUS_FILE

EXAMPLES = Path(__file__).parents[3] / "examples"
# no registry has PyTorch for CPUs alone, so no extra brings it: a Python that has it, and what Learnae needs
TORCH = TORCH_PYTHON or (sys.executable if importlib.util.find_spec("torch") else "")
PYTHONPATH = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


@pytest.fixture
def run(tmp_path: Path):
    def run(name: str) -> str:
        return succeed(sys.executable, EXAMPLES / name, env=clean_environment(LEARNAE_HOME=str(tmp_path))).stdout

    return run


def test_a_learner_of_ones_own_finds_with_others_what_it_cannot_find_alone(run) -> None:
    found, truth = (numbers.split() for numbers in re.findall(r"\[(.*?)\]", run("own_learner.py")))
    assert [float(one) for one in found] == pytest.approx([float(one) for one in truth], abs=0.2)


def test_two_loops_of_one_class_each_learn_both(run) -> None:
    assert int(re.findall(r"right: (\d+)%", run("own_loop.py"))[0]) >= 95


@pytest.mark.slow
@pytest.mark.skipif(not how_many(0, 1), reason="loads PyTorch: make nightly")
@pytest.mark.skipif(not TORCH, reason="PyTorch is not here; LEARNAE_TORCH_PYTHON may name a Python that has it")
def test_a_model_of_pytorch_learns_as_a_member(tmp_path: Path) -> None:
    environment = clean_environment(LEARNAE_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path), PYTHONPATH=PYTHONPATH)
    said = succeed(TORCH, EXAMPLES / "torch_loop.py", env=environment).stdout
    assert int(re.findall(r"right: (\d+)%", said)[0]) >= 85


def test_a_simulated_swarm_meets_again_and_learns(run) -> None:
    accuracies = [float(found) for found in re.findall(r"accuracy (\S+),", run("simulated_swarm.py"))]
    assert len(accuracies) == 8
    assert min(accuracies) > 0.7


def test_the_status_of_each_peer_of_a_home_is_read(run, tmp_path: Path) -> None:
    manifest = Manifest("line", dense_config(2, (), 1, "linear"), "mean_squared_error")
    swarm = Simulation(manifest, [Dataset(manifest.model, manifest.objective)], Setting())
    for name in ("silent", "speaking"):
        (tmp_path / "peers" / name).mkdir(parents=True)
    StatusFile(tmp_path / "peers" / "speaking" / STATUS_FILE).report(swarm.members[0].peer.status())
    assert run("peer_status.py") == "silent: has not said anything yet\npeer-0: no accuracy yet, 0 steps, 0 peers, {}\n"
