"""Memory of an agent in its own environment, which scripts/test-agent-venv builds."""

import sys
from pathlib import Path

import pytest
from programs import PATIENCE, Child, Programs, wait_for
from resident import resident

from demo.people import write_private_file
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset
from learnae.system.installation import is_installed

MOST = 60_000_000  # bytes
WITH_A_PAGE = 62_000_000
UNIT = {"MALLOC_ARENA_MAX": "1"}  # what the unit gives an agent
PRIVATE = {"LEARNAE_PRIVACY__EPSILON": "4", "LEARNAE_PUBLISH__EVERY": "1"}
TFLITE = {"LEARNAE_TRAIN__ENGINE": "tflite", "LEARNAE_PUBLISH__EVERY": "1"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_installed("tflite_runtime") or is_installed("typer"), reason="in an agent's environment alone"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def started(programs: Programs, directory: Path, environment: dict[str, str], page: str = "") -> Child:
    """Start an agent that has one person's recording, all at once."""
    swarm = create_swarm(preset("wrist", 1_700_000_000_000), programs.home / "swarms" / "shared").directory
    write_private_file(1, directory / "person.npz")
    config = directory / "agent.toml"
    config.write_text(f'[swarm]\nid = "{swarm}"\n[source]\nfile = "{directory}/person.npz"\nspeed = 0\n{page}')
    return programs.start("agent", "run", "--config", config, environment={**UNIT, **environment})


def wait_for_own_model(programs: Programs) -> None:
    """Wait until the agent has a model of its own beside the common one, and has measured it."""
    score = lambda: (programs.status("agent").get("personal") or {}).get("score")  # noqa: E731
    wait_for(lambda: score() is not None, "a model of its own beside the common one", 4 * PATIENCE)


def test_a_private_agent_fits_a_small_board_beside_an_installed_runtime(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        agent = started(programs, tmp_path, {**PRIVATE, "LEARNAE_TRAIN__ENGINE": "auto"})
        said = lambda: programs.status("agent").get("privacy") or {}  # noqa: E731
        wait_for(lambda: said().get("releases", 0) >= 10, "releases")
        wait_for_own_model(programs)
        assert programs.status("agent")["engine"] == "numpy"
        assert resident(agent.pid) * 1024 <= MOST


@pytest.mark.parametrize(
    ("page", "most"), [("", MOST), ('[dashboard]\nlisten = "127.0.0.1:0"\n', WITH_A_PAGE)], ids=["alone", "page"]
)
def test_an_agent_on_tflite_fits_it_and_so_does_its_page(tmp_path: Path, page: str, most: int) -> None:
    with Programs(tmp_path) as programs:
        agent = started(programs, tmp_path, TFLITE, page)
        programs.wait_for_steps("agent", agent, more_than=26 * 10)
        wait_for_own_model(programs)
        assert programs.status("agent")["engine"] == "tflite"
        assert resident(agent.pid) * 1024 <= most
