"""A swarm that two processes play: it replays, all hear all, and it does what it does in one."""

from pathlib import Path
from typing import Any

import pytest

from learnae.errors import ConfigurationError
from learnae.simulation.played import Play
from learnae.simulation.scenario_file import ScenarioFile, read_scenario
from learnae.simulation.shards import Shard, play_in_shards

SCENARIO = """
[swarm]
peers = 11
archives = 1
[time]
minutes = 0.5
samples = 3
seed = 5
listen = 0.25
[weather]
lost = 0.05
doubled = 0.05
cut_from = 0.1
cut_until = 0.2
[churn]
away = 0.1
seconds = 4
newcomers = 2
minute = 0.2
"""


def played(shard: Shard, scenario: ScenarioFile) -> dict[str, Any]:
    """Play a scenario, then let all hear what is there; what each member has comes as one digest."""
    play = Play(scenario, shard)
    course = play.run()
    simulation = play.simulation
    for index in sorted(simulation.network.down):
        simulation.restart(index)
    simulation.heal()
    simulation.settle(20_000)
    sets = [sorted(map(str, each)) for each in simulation.message_sets()]
    hosts = simulation.network.hosts
    kept = [sorted(map(str, host.blocks)) for host in hosts]
    real = [shard.gather(names)[host.index % shard.count] for host, names in zip(hosts, kept, strict=True)]
    wrong = [set(names) - set(its) for names, its in zip(kept, real, strict=True)]
    return {
        **course.to_fields(),
        "sets": [each for part in shard.gather(sets) for each in part],
        "wrong": shard.sum(sum(map(len, wrong))),
    }


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> ScenarioFile:
    """Return a small stormy swarm."""
    return written(tmp_path_factory.mktemp("scenario"), SCENARIO)


def written(folder: Path, text: str) -> ScenarioFile:
    """Read a scenario from a file."""
    path = folder / "scenario.toml"
    path.write_text(text)
    return read_scenario(path)


def test_a_swarm_over_two_processes_replays_and_does_what_it_does_in_one(scenario: ScenarioFile) -> None:
    one, two, again = (play_in_shards(count, played, scenario) for count in (1, 2, 2))
    assert two == again, "what happens follows from the seed and the number of processes"
    assert len(two["sets"]) == 11
    assert len(two["sets"][0]) > 11, "all have said something"
    assert all(each == two["sets"][0] for each in two["sets"]), "everybody hears everybody, over both processes"
    assert two["wrong"] == 0, "a process knows of others' hosts what they have, and forgets what they drop"
    for point, other in zip(one["points"], two["points"], strict=True):
        assert (point["time"], point["away"]) == (other["time"], other["away"])
    last, other = one["points"][-1], two["points"][-1]
    assert other["accuracy"] == pytest.approx(last["accuracy"], abs=0.05)
    assert other["bytes_in"] == pytest.approx(last["bytes_in"], rel=0.25)
    assert other["updates"] == pytest.approx(last["updates"], rel=0.2)


@pytest.mark.parametrize("more", ["[liars]\npeers = 2", "[weather]\nleast = 0"])
def test_what_cannot_be_told_in_time_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigurationError, match=r"time\.processes is 2"):
        written(tmp_path, f"[time]\nprocesses = 2\n{more}\n")
