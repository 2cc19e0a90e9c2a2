"""What an agent needs of a small board's memory in a sealed swarm, and with the exchange over HTTP besides."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.harness import AT_MOST, Race
from bench.rigs.processes import memory_bytes, rig, wait_until
from demo.people import write_private_file

_MOST = {"sealed": 60.0, "sealed, over HTTP": 62.0}  # MB
_TRAINED = 26 * 10  # steps
_TIMEOUT_SECONDS = 240.0


def run(race: Race) -> None:
    """Measure both."""
    for form, most in _MOST.items():
        with race.step(f"an agent, {form}"), tempfile.TemporaryDirectory() as name:
            found = agent_memory(Path(name), form != "sealed")
        race.check(f"memory (RSS) of an agent after training, {form}", found / 1e6, most, AT_MOST, "MB", "NumPy")


def agent_memory(root: Path, serves: bool) -> float:
    """Return the resident bytes of an agent that follows another member of its machine; ``serves`` also over HTTP."""
    with ExitStack() as stack:
        programs = stack.enter_context(rig("programs").Programs(root))
        programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--membership", "invite")
        agents = [_agent(programs, person, serves and person == 1) for person in (1, 2)]
        wait_until(
            lambda: all(_is_settled(programs, f"agent{person}") for person in (1, 2)), _TIMEOUT_SECONDS, "both agents"
        )
        return memory_bytes("status", "VmRSS", agents[0].pid)


def _agent(programs: Any, person: int, serves: bool) -> Any:
    name, data = f"agent{person}", programs.root / f"{person}.npz"
    write_private_file(person, data)
    config = programs.root / f"{name}.toml"
    programs.answer("learnae", "join", "--role", "agent", "--name", name, "--data", data, "--config", config)
    serving = {"LEARNAE_LAN__SERVE": f"127.0.0.1:{rig('daemon').free_port()}"} if serves else {}
    return programs.start("agent", "run", "--config", config, environment={"LEARNAE_SOURCE__SPEED": "0", **serving})


def _is_settled(programs: Any, name: str) -> bool:
    said = programs.status(name)
    return bool(said.get("following") == 1 and said["steps"] > _TRAINED and said["holdout_rows"] > 100)
