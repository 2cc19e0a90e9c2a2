"""What an agent needs of a small board's memory."""

import re
import sys
from pathlib import Path

import pytest
from programs import Programs

from demo.people import write_private_file

MOST = {"numpy": 60, "tflite": 75}  # MB: a board of 512 MB has room for it beside everything else


def resident(pid: int) -> int:
    """KiB of memory that a process has now."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


# Boards run Python 3.11 (Debian 12). Resident memory counts library pages that the kernel maps in passing, some
# megabytes more or less with the state of its page cache: one Python, one reading.
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", pytest.param("tflite", marks=pytest.mark.modules("ai_edge_litert"))])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_agent_that_has_seen_all_its_data_and_trains_fits_a_small_board(
    programs: Programs, tmp_path: Path, engine: str
) -> None:
    programs.answer("learnae", "swarm", "create", "--preset", "wrist")
    write_private_file(1, tmp_path / "person.npz")
    programs.answer("learnae", "join", "--role", "agent", "--data", tmp_path / "person.npz")
    agent = programs.start("agent", "run", environment={"LEARNAE_SOURCE__SPEED": "0", "LEARNAE_TRAIN__ENGINE": engine})
    said = programs.wait_for_steps("agent", agent, more_than=26 * 10)
    assert said["holdout_rows"] > 100
    assert resident(agent.pid) * 1024 <= MOST[engine] * 1_000_000
