"""``learnae join`` and a small definition that asks for gigabytes, or a large number of steps: said, or refused."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import Programs, clean_environment, wait_for

from demo.people import write_private_file
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config, preset

CONFIGURATION = 78
CROSS = "sparse_categorical_crossentropy"


def join_in(programs: Programs, megabytes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Join in a process of so much address space, as on a small machine."""
    command = f'ulimit -v {megabytes << 10}; exec "$@"'
    program = [sys.executable, "-m", "learnae", "join", *map(str, arguments)]
    environment = clean_environment(LEARNAE_HOME=str(programs.home), XDG_CONFIG_HOME=str(programs.config))
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", *program], env=environment, capture_output=True, text=True, check=False
    )


def hungry() -> Manifest:
    """Ask 5 GB for the values of one step, in some 10 kB."""
    wrist = preset("wrist-cnn", 1)
    wide: list[dict[str, Any]] = [{"class_name": "Activation", "config": {"activation": "tanh"}}] * 200
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 100, 6]}},
        {"class_name": "Conv1D", "config": {"filters": 16384, "kernel_size": [1]}},
        *wide,
        {"class_name": "GlobalAveragePooling1D", "config": {}},
        {"class_name": "Dense", "config": {"units": 7, "activation": "softmax"}},
    ]
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    return dataclasses.replace(wrist, name="hungry", config=config)


def large() -> Manifest:
    """Have 134 million parameters."""
    return Manifest("large", dense_config(1 << 14, (1 << 13,), 2, "softmax"), CROSS)


def test_join_tells_in_three_lines_what_a_swarm_costs(programs: Programs) -> None:
    programs.add_swarm(preset("wrist", 1))
    lines = programs.run("learnae", "join").stdout.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("model "))
    assert lines[begin].split()[1:5] == ["4,295", "parameters,", "16.8", "KiB;"]
    assert lines[begin + 1].startswith("step           of 32 rows: ")
    assert " s on this machine with NumPy, " in lines[begin + 1]
    assert lines[begin + 2].startswith("sends          2.8 KiB an update of 256 or more rows drawn, at most ")


def test_and_machines_read_it(programs: Programs) -> None:
    programs.add_swarm(dataclasses.replace(preset("wrist", 1), training=TrainingPolicy(steps=10**6)))
    costs = programs.answer("learnae", "join", "--broker", "mqtt://localhost")["costs"]
    assert (costs["parameters"], costs["weight_bytes"], costs["steps"]) == (4295, 17180, 10**6)
    assert 0 < costs["step_seconds"] < 10
    assert costs["bytes_per_day"] == costs["update_bytes"] * 43_200
    assert costs["warning"] == ""


@pytest.mark.parametrize("role", ["trainer", "agent"])
def test_a_step_of_gigabytes_is_refused_by_small_machines_and_not_taken_by_agents(
    programs: Programs, tmp_path: Path, role: str
) -> None:
    programs.add_swarm(hungry())
    done = join_in(programs, 1000, "--role", role, "--json")
    if role == "trainer":
        assert done.returncode == CONFIGURATION, done.stderr
        assert "training swarm 'hungry' takes" in done.stderr
        assert "MiB of memory are free" in done.stderr
        assert not (programs.home / "peers").exists()
    else:
        assert done.returncode == 0, done.stderr
        costs = json.loads(done.stdout)["costs"]
        assert "agent's at most 256" in costs["warning"]
        assert costs["step_seconds"] is None


def test_weights_that_do_not_fit_keep_a_machine_out(programs: Programs) -> None:
    programs.add_swarm(large())
    done = join_in(programs, 1000)
    assert done.returncode == CONFIGURATION, done.stderr
    assert "a member holds 2,048 MiB of weights" in done.stderr


def test_an_agent_goes_on_and_says_why_it_does_not_train(programs: Programs) -> None:
    programs.add_swarm(hungry())
    write_private_file(1, programs.root / "person.npz")
    joined = programs.run("learnae", "join", "--role", "agent", "--data", programs.root / "person.npz")
    assert joined.returncode == 0, joined.stderr
    agent = programs.start("agent", "run")
    wait_for(lambda: "agent's at most 256" in programs.status("agent").get("only_summaries", ""), "a reason")
    wait_for(lambda: programs.status("agent").get("samples", 0) > 0, "samples")
    agent.stop()
    assert programs.status("agent")["steps"] == 0
