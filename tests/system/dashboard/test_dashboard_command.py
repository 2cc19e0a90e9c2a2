"""``learnae dashboard`` and the programs themselves: the page of a trainer that runs, and none where none is wished."""

import sys
import urllib.error
import urllib.request

import pytest
from programs import Programs, succeed, wait_for
from visitors import Visitor

from learnae.basics.headline import STATES
from learnae.dashboard.address import FILE

PAGED = {"LEARNAE_DASHBOARD__LISTEN": "127.0.0.1:0"}


def test_a_trainer_shows_its_page_to_who_holds_the_token(programs: Programs) -> None:
    none = programs.run("learnae", "dashboard")
    assert (none.returncode, "no peer runs here" in none.stderr) == (78, True)
    trainer = programs.start("trainer_node", "start", "--demo", environment=PAGED)
    visitor = Visitor(programs)
    assert b"<title>Learnae</title>" in visitor.page
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(visitor.url)
    assert visitor.state()["peer"]["swarm_name"] == "wrist-demo"
    answers = wait_for(lambda: visitor.state()["answers"], "answers")
    assert answers["rows"] == answers["of"] == sum(answers["counts"])
    shown = programs.run("trainer_node", "status", "--name", "demo-1").stdout.splitlines()
    assert shown[0] == "running"
    assert shown[1].strip().startswith(STATES)
    assert "demo-1: " in programs.run("learnae", "watch", "--rounds", "1").stdout
    trainer.stop()
    with pytest.raises(urllib.error.URLError):
        visitor.state()


def test_a_peer_without_a_page_says_how_to_have_one(programs: Programs) -> None:
    trainer = programs.start("trainer_node", "start", "--demo")
    programs.wait_for_steps("demo-1", trainer)
    said = programs.run("learnae", "dashboard").stderr
    assert 'no dashboard is shown by demo-1; write listen = "127.0.0.1:8088" below [dashboard]' in said
    assert not list(programs.home.glob(f"peers/*/{FILE}"))
    trainer.stop()


def test_an_agent_without_a_page_loads_nothing_of_it() -> None:
    found = "[name for name in sys.modules if 'dashboard' in name or name == 'asyncio']"
    script = f"import agent.start, agent.cli, sys; print({found})"
    assert succeed(sys.executable, "-c", script).stdout.strip() == "['learnae.config.dashboard_section']"
