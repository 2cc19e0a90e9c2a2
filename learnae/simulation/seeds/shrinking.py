"""The smallest scenario that breaks the same, found as delta debugging does (Zeller and Hildebrandt 2002)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from learnae.simulation.attacks import HONEST
from learnae.simulation.seeds.scenario import LEAST_PEERS, OPEN, Scenario
from learnae.simulation.seeds.world import Outcome, play

_MOST_TRIES = 120  # scenarios played: about a minute
_LEAST_SECONDS = 5
_FLAGS = ("listens", "archive", "private", "settles")
_CALMER: tuple[dict[str, Any], ...] = (
    {"loss": 0.0}, {"doubles": 0.0}, {"delay": 100}, {"lie": HONEST}, {"membership": OPEN},
    *({flag: False} for flag in _FLAGS),
)  # fmt: skip


def shrink(
    scenario: Scenario, outcome: Outcome, run: Callable[[Scenario], Outcome] = play, tries: int = _MOST_TRIES
) -> tuple[Scenario, Outcome]:
    """Return the smallest scenario found that breaks what ``outcome`` of ``scenario`` has broken, and its outcome."""
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(scenario):
            if not tries:
                return scenario, outcome
            tries -= 1
            found = run(smaller)
            if found.broken == outcome.broken:
                scenario, outcome, changed = smaller, found, True
                break
    return scenario, outcome


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios with less in them, those with much less first."""
    events = scenario.events
    size = len(events)
    while size:
        for start in range(0, len(events), size):
            yield replace(scenario, events=events[:start] + events[start + size :])
        size //= 2
    if scenario.peers > LEAST_PEERS:
        left = tuple(event for event in events if event.peer < scenario.peers - 1)
        yield replace(scenario, peers=scenario.peers - 1, events=left)
    for calmer in _CALMER:
        if replace(scenario, **calmer) != scenario:
            yield replace(scenario, **calmer)
    last = max((event.time for event in events), default=0) // 1000
    seconds = max(_LEAST_SECONDS, last + 1)
    if seconds < scenario.seconds:
        yield replace(scenario, seconds=seconds)
