"""What an agent needs of a small board's memory."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from daemon import HOST, free_port
from programs import Child, Programs, wait_for
from resident import resident

from demo.people import write_private_file
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset

MANIFEST = preset("wrist", 1_700_000_000_000)

MOST = {"numpy": 58, "http": 62, "tflite": 73}  # MB: a board of 512 MB has room for it beside everything else

NOISE = 2  # MB above: a budget in SQLite, all rows in one step


# Boards run Python 3.11 (Debian 12). Resident memory counts library pages that the kernel maps in passing, some
# megabytes more or less with the state of its page cache: one Python, one reading.
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", pytest.param("tflite", marks=pytest.mark.modules("ai_edge_litert"))])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_agent_that_has_seen_all_its_data_and_trains_fits_a_small_board(
    programs: Programs, tmp_path: Path, engine: str
) -> None:
    programs.answer("learnae", "swarm", "create", "--preset", "wrist")
    agent = trained(programs, tmp_path, {"LEARNAE_TRAIN__ENGINE": engine})
    assert resident(agent.pid) * 1024 <= MOST[engine] * 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "most"),
    [
        ("auto", MOST["numpy"] + NOISE),
        pytest.param("tflite", MOST["tflite"] + NOISE, marks=pytest.mark.modules("ai_edge_litert")),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_so_does_one_with_differential_privacy(programs: Programs, tmp_path: Path, engine: str, most: int) -> None:
    programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--epsilon", 4)
    write_private_file(1, tmp_path / "person.npz")
    programs.answer("learnae", "join", "--role", "agent", "--data", tmp_path / "person.npz")
    agent = programs.start(
        "agent",
        "run",
        environment={"LEARNAE_SOURCE__SPEED": "0", "LEARNAE_TRAIN__ENGINE": engine, "LEARNAE_PUBLISH__EVERY": "1"},
    )
    wait_for(lambda: (programs.status("agent").get("privacy") or {}).get("releases", 0) >= 40, "half of the budget")
    assert resident(agent.pid) * 1024 <= most * 1_000_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_agent_that_exchanges_over_http_fits_it_too(tmp_path: Path) -> None:
    """Each of two on one machine, in homes of their own: one serves, one calls; both have the other's weights."""
    port, agents = free_port(), []
    with ExitStack() as stack:
        for name, lan in (("one", {"SERVE": f"{HOST}:{port}"}), ("other", {"PEERS": f"http://{HOST}:{port}"})):
            (tmp_path / name).mkdir()
            programs = stack.enter_context(Programs(tmp_path / name))
            create_swarm(MANIFEST, programs.home / "swarms" / "shared")
            variables = {f"LEARNAE_LAN__{key}": value for key, value in lan.items()}
            agents.append((programs, trained(programs, tmp_path / name, variables)))
        for programs, agent in agents:
            wait_for(lambda programs=programs: programs.status("agent").get("following") == 1, "the other")
            assert resident(agent.pid) * 1024 <= MOST["http"] * 1_000_000


def trained(programs: Programs, directory: Path, variables: dict[str, str]) -> Child:
    """Start an agent, which has seen all its data and trained some then."""
    write_private_file(1, directory / "person.npz")
    programs.answer("learnae", "join", "--role", "agent", "--data", directory / "person.npz")
    agent = programs.start("agent", "run", environment={"LEARNAE_SOURCE__SPEED": "0", **variables})
    said = programs.wait_for_steps("agent", agent, more_than=26 * 10)
    assert said["holdout_rows"] > 100
    return agent
