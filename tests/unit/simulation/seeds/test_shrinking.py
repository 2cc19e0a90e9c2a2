"""Scenarios follow from their seeds, can be written down, and are made as small as they can be."""

from collections import Counter
from dataclasses import replace

import pytest
from builders import Author

from learnae.errors import ConfigurationError
from learnae.simulation.attacks import HONEST
from learnae.simulation.seeds.invariants import NEVER_TWICE, RUNS, Broken, Witness
from learnae.simulation.seeds.scenario import OPEN, POWER_CUT, Event, Scenario, draw
from learnae.simulation.seeds.shrinking import shrink
from learnae.simulation.seeds.world import Outcome


def outcome(broken: str) -> Outcome:
    return Outcome(broken, "", 1, "", 0, 0)


def test_a_scenario_is_the_same_for_a_seed_and_is_read_as_it_was_written() -> None:
    scenarios = [draw(seed) for seed in range(200)]
    assert scenarios == [draw(seed) for seed in range(200)]
    assert [Scenario.from_fields(scenario.to_fields()) for scenario in scenarios] == scenarios
    assert len(set(scenarios)) == 200
    kinds = Counter(event.kind for scenario in scenarios for event in scenario.events)
    assert len(kinds) == 10
    assert {2, 3, 4, 5, 6, 7, 8} == {scenario.peers for scenario in scenarios}
    assert all(event.peer < scenario.peers for scenario in scenarios for event in scenario.events)


@pytest.mark.parametrize(
    "wrong",
    [
        {"more": 1},
        {"events": 7},
        {"events": [{"what": 1}]},
        {"events": [{"time": 1, "kind": "flod"}]},
        {"events": [{"time": "1", "kind": "flood"}]},
        {"peers": "3"},
        {"peers": 9},
        {"period": 0},
        {"membership": "closed"},
        {"lie": "white"},
    ],
)
def test_what_is_no_scenario_is_refused(wrong: dict[str, object]) -> None:
    fields = draw(1).to_fields() | {"events": []}
    assert Scenario.from_fields(fields)
    with pytest.raises(ConfigurationError, match=r"no scenario|goes from"):
        Scenario.from_fields(fields | wrong)
    with pytest.raises(ConfigurationError, match="no scenario"):
        Scenario.from_fields({})


def test_all_is_left_away_that_does_not_matter() -> None:
    cuts = tuple(Event(1000 * number, POWER_CUT, number % 8, 500, number) for number in range(30))
    scenario = Scenario(1, 8, 60, "invite", delay=2500, loss=0.3, doubles=0.2, lie="zeros", listens=True, events=cuts)
    needed = {cuts[9], cuts[18]}  # of peers 1 and 2
    tried = []

    def run(smaller: Scenario) -> Outcome:
        tried.append(smaller)
        return outcome(RUNS if needed <= set(smaller.events) else NEVER_TWICE if smaller.events else "")

    smallest, its = shrink(scenario, outcome(RUNS), run)
    assert set(smallest.events) == needed
    assert smallest == Scenario(1, 3, 19, OPEN, lie=HONEST, events=smallest.events)
    assert its == outcome(RUNS)
    assert len(tried) < 120


def test_shrinking_ends_after_so_many_tries() -> None:
    scenario, tried = replace(draw(0), peers=8), []

    def run(smaller: Scenario) -> Outcome:
        tried.append(smaller)
        return outcome("")

    assert shrink(scenario, outcome(RUNS), run, tries=5) == (scenario, outcome(RUNS))
    assert len(tried) == 5


def test_a_witness_takes_no_second_message_of_a_seq() -> None:
    witness, author = Witness(), Author(1)
    first, second = author.fork()
    assert witness.see(0, author.author, first.data)
    assert not witness.see(0, author.author, first.data)
    assert not witness.see(1, Author(2).author, second.data)
    with pytest.raises(Broken, match=NEVER_TWICE):
        witness.see(0, author.author, second.data)
