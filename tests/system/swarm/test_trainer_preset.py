"""``trainer-node start --preset hepmass --data all_train.csv.gz`` is a complete command, with every engine.

The file is generated: the header, columns and number format of the original, random values.
"""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from programs import Programs, assert_refused

from learnae.swarm.directory import open_manifest
from learnae.system.service import EXIT_CONFIGURATION


@pytest.fixture
def hepmass(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    label = np.arange(400) % 2
    features = rng.standard_normal((400, 27)) + label[:, None]
    text = io.BytesIO()
    header = "# label," + ",".join(f"f{index}" for index in range(27)) + ",mass"
    np.savetxt(text, np.column_stack([label, features, np.full(400, 1000.0)]), fmt="%.18e", delimiter=",",
               header=header, comments="")  # fmt: skip
    path = tmp_path / "all_train.csv.gz"
    path.write_bytes(gzip.compress(text.getvalue()))
    return path


@pytest.mark.modules("keras", "jax")
@pytest.mark.parametrize(("engine", "other"), [("numpy", "jax"), ("jax", "numpy")])
def test_one_command_makes_the_swarm_and_trains_in_it_with_another_engine_later(
    programs: Programs, hepmass: Path, engine: str, other: str
) -> None:
    command = ("trainer_node", "start", "--preset", "hepmass", "--data", hepmass)

    process = programs.start(*command, environment={"LEARNAE_TRAIN__ENGINE": engine})
    said = programs.wait_for_steps("trainer", process)
    log = process.stop()

    assert (said["engine"], said["training_rows"], said["skipped_rows"]) == (engine, 280, 0)
    assert said["device"]
    assert "280 rows to train on, 120 held out" in log
    swarms = list((programs.home / "swarms").iterdir())
    assert [open_manifest(swarm).name for swarm in swarms] == ["hepmass"]

    again = programs.start(*command, environment={"LEARNAE_TRAIN__ENGINE": other})
    programs.wait_for_steps("trainer", again, more_than=said["steps"])
    assert list((programs.home / "swarms").iterdir()) == swarms


def test_local_steps_are_taken_between_two_merges(programs: Programs, hepmass: Path) -> None:
    command = ("trainer_node", "start", "--preset", "hepmass", "--data", hepmass)
    process = programs.start(*command, pause=60, environment={"LEARNAE_TRAIN__EPOCHS": "2"})
    assert programs.wait_for_steps("trainer", process)["steps"] == 18  # 2 * 280 rows in batches of 32, rounded up


def test_a_preset_that_is_none_and_two_swarms_are_refused(programs: Programs) -> None:
    start = ("trainer_node", "start", "--data", "x.csv")

    assert_refused(programs.run(*start, "--preset", "hepmas"), EXIT_CONFIGURATION, "no preset 'hepmas'")
    both = programs.run(*start, "--preset", "hepmass", "--swarm", "here")
    assert_refused(both, EXIT_CONFIGURATION, "--swarm and --preset")
