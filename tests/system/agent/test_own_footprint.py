"""Memory of an agent in its own environment, which scripts/test-agent-venv builds."""

import sys
from pathlib import Path

import pytest
from programs import PATIENCE, Programs, wait_for
from resident import resident

from demo.people import write_private_file
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset
from learnae.system.installation import is_installed

MOST = 60_000_000  # bytes
PRIVATE = {
    "LEARNAE_PRIVACY__EPSILON": "4",
    "LEARNAE_PUBLISH__EVERY": "1",
    "MALLOC_ARENA_MAX": "1",
}  # the last: the unit's


@pytest.mark.slow
@pytest.mark.skipif(
    not is_installed("tflite_runtime") or is_installed("typer"), reason="in an agent's environment alone"
)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_private_agent_fits_a_small_board_beside_an_installed_runtime(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        swarm = create_swarm(preset("wrist", 1_700_000_000_000), programs.home / "swarms" / "shared").directory
        write_private_file(1, tmp_path / "person.npz")
        config = tmp_path / "agent.toml"
        config.write_text(f'[swarm]\nid = "{swarm}"\n[source]\nfile = "{tmp_path}/person.npz"\nspeed = 0\n')
        environment = {**PRIVATE, "LEARNAE_TRAIN__ENGINE": "auto"}
        agent = programs.start("agent", "run", "--config", config, environment=environment)
        said = lambda: programs.status("agent").get("privacy") or {}  # noqa: E731
        wait_for(lambda: said().get("releases", 0) >= 10, "releases")
        own = lambda: (programs.status("agent").get("personal") or {}).get("score") is not None  # noqa: E731
        wait_for(own, "a model of its own beside the common one", 4 * PATIENCE)
        assert programs.status("agent")["engine"] == "numpy"
        assert resident(agent.pid) * 1024 <= MOST
