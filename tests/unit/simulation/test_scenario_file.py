"""Scenario files: every key is declared, bounded and on the page; what cannot be is refused with a remedy."""

from pathlib import Path

import pytest

from learnae.cli.commands.simulate.played_file import page_of
from learnae.config.reference import sections_of
from learnae.errors import ConfigurationError
from learnae.simulation.played import Course, Play
from learnae.simulation.scenario_file import ScenarioFile, read_scenario

PAGE = (Path(__file__).parents[3] / "docs/simulation.md").read_text()
STORM = """
[swarm]
peers = 5
archives = 1
steps = 2
[time]
minutes = 0.5
samples = 5
seed = 5
[weather]
lost = 0.1
doubled = 0.1
cut_from = 0.2
cut_until = 0.4
[churn]
away = 0.3
seconds = 5
newcomers = 1
minute = 0.3
[liars]
kind = "equivocation"
peers = 1
"""


def scenario_of(text: str, directory: Path) -> ScenarioFile:
    path = directory / "storm.toml"
    path.write_text(text)
    return read_scenario(path)


def test_every_key_is_on_the_page() -> None:
    for section in sections_of(ScenarioFile):
        assert f"## [{section.name}]\n" in PAGE
        for key in section.keys:
            assert f"| `{key.name}` | {key.values} | {key.start} | {key.about.meaning} |\n" in PAGE


def test_the_example_of_the_page_is_a_scenario(tmp_path: Path) -> None:
    example = PAGE.split("```toml\n")[1].split("```")[0]
    assert scenario_of(example, tmp_path).liars.peers == 3
    assert scenario_of("", tmp_path) == scenario_of("[swarm]\npreset = 'wrist'\n", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[swarm]\npeer = 8", ["storm.toml", "peer", "peers"]),
        ("[wether]\nlost = 0.5", ["wether", "weather"]),
        ("peers = 8", ["peers"]),
        ("[swarm]\npeers = 'many'", ["swarm.peers", "many"]),
        ("[swarm]\npeers = 1", ["swarm.peers is 1", "from 2 to 10_000"]),
        ("[swarm]\npeers = 1e3", ["swarm.peers"]),
        ("[swarm]\nrule = 'median'", ["swarm.rule", "trimmed"]),
        ("[time]\nminutes = 0", ["time.minutes is 0", "above 0"]),
        ("[time]\nminutes = nan", ["time.minutes"]),
        ("[weather]\nlost = 1", ["weather.lost is 1", "below 1"]),
        ("[weather]\nleast = 300", ["weather.least is 300", "most"]),
        ("[weather]\ncut_from = 2\ncut_until = 1", ["weather.cut_until is 1", "2"]),
        ("[weather]\ncut_until = 1\nparts = 9", ["weather.parts is 9 of 8"]),
        ("[churn]\nnewcomers = 7", ["churn.newcomers is 7 of 8"]),
        ("[churn]\nnewcomers = 2\nminute = 2", ["churn.minute is 2 of 2"]),
        ("[liars]\npeers = 7", ["liars.peers is 7 of 8"]),
        ("[roles]\ntrainers = 5\nsenders = 4", ["roles.trainers and roles.senders are 9 of 8"]),
        ("[roles]\nsenders = 7", ["roles.senders is 7 of 8", "let two train"]),
        ("[liars]\nkind = 'late'", ["liars.kind", "sign-flip"]),
        ("[swarm]\npeers = 8\npeers = 9", ["storm.toml"]),
        ("[swarm\n", ["storm.toml"]),
    ],
)
def test_what_cannot_be_is_refused(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        scenario_of(text, tmp_path)
    said = str(caught.value)
    assert not [word for word in words if word not in said], said
    assert "\n" not in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        read_scenario(tmp_path / "none.toml")


def test_a_storm_happens_as_it_is_written_and_replays_byte_for_byte(tmp_path: Path) -> None:
    scenario = scenario_of(STORM, tmp_path)
    course = Play(scenario).run()
    assert course == Play(scenario).run()
    points = course.points
    assert [point.time for point in points] == sorted({point.time for point in points})
    assert points[0].away >= 1  # the newcomer
    assert any(point.away for point in points[3:])  # others, too
    assert points[-1].updates > 3
    assert points[-1].bytes_in > points[0].bytes_in
    assert 0 < points[-1].worst <= points[-1].accuracy <= 1


def test_newcomers_come_and_learn_what_the_others_know(tmp_path: Path) -> None:
    text = "[swarm]\npeers = 5\nsteps = 2\n[time]\nminutes = 1\nsamples = 3\n[churn]\nnewcomers = 2\nminute = 0.5\n"
    play = Play(scenario_of(text, tmp_path))
    course = play.run()
    assert [point.away for point in course.points] == [2, 0, 0]
    peers = [member.peer for member in play.simulation.members]
    assert all(len(peer.following.replicas) == 4 for peer in peers)
    assert all(peer.steps for peer in peers)


def test_trainers_go_further_and_senders_only_tell_of_their_rows(tmp_path: Path) -> None:
    roles = "trainers = 1\nsteps = 8\nrows = 200\nsenders = 2"
    scenario = scenario_of(f"[swarm]\npeers = 5\nsteps = 2\n[roles]\n{roles}\n[time]\nminutes = 0.5\n", tmp_path)
    play = Play(scenario)
    course = play.run()
    assert course == Play(scenario).run()
    trainer, *senders, agent, _ = [member.peer for member in play.simulation.members]
    assert [peer.options.role for peer in (trainer, agent)] == ["trainer", "agent"]
    assert trainer.training.between_merges == 8
    assert agent.training.between_merges == 2
    assert trainer.options.rows() > 2 * agent.options.rows()
    assert all(peer.steps == 0 and peer.options.summaries.is_alone() for peer in senders if peer.options.summaries)
    assert {peer.author for peer in senders} <= set(agent.view.summaries)
    assert set(agent.following.replicas).isdisjoint(peer.author for peer in senders)


def test_the_page_holds_every_curve_and_no_script(tmp_path: Path) -> None:
    scenario = scenario_of("[swarm]\npeers = 3\n[time]\nminutes = 0.05\nsamples = 2\n", tmp_path)
    course = Play(scenario).run()
    page = page_of(scenario, course)
    assert page.count("<svg viewBox") >= 4
    assert course.trace in page
    assert "<script" not in page
    assert Course([], "").to_fields() == {"trace": "", "points": []}
