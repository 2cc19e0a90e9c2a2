"""The sentence about a peer, as the page, the status, the log and ``watch`` say it."""

from typing import Any

import pytest

from learnae.basics.headline import STATES, headline

FINE = {"accuracy": 0.5, "loss": 0.25, "steps": 26, "following": 3, "muted": {}}
NOTHING = {"accuracy": None, "loss": None}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "learning: accuracy 0.500; merges 3 others"),
        ({"muted": {"key": "bad"}}, "learning: accuracy 0.500; merges 2 of 3 others"),
        ({"following": 1}, "learning: accuracy 0.500; merges 1 other"),
        ({"accuracy": None}, "learning: loss 0.2500; merges 3 others"),
        ({"accuracy": None, "loss": 1.23456e-5}, "learning: loss 1.235e-05; merges 3 others"),
        ({"accuracy": None, "r2": 0.75}, "learning: R² 0.750; merges 3 others"),
        (NOTHING, "learning: nothing measured yet; merges 3 others"),
        ({**NOTHING, "steps": 0}, "learning: nothing measured yet (its first steps are being taken); merges 3 others"),
        (
            {**NOTHING, "unmeasured": "no rows are held out before 12:00:30"},
            "learning: nothing measured yet (no rows are held out before 12:00:30); merges 3 others",
        ),
        (
            {"personal": {"model": "tuned", "score": 0.75}},
            "learning: accuracy 0.500 (for itself 0.750, tuned); merges 3 others",
        ),
        ({"settled": 1}, "settled: accuracy 0.500; quiet until there is something new"),
        ({"following": 0}, "alone: accuracy 0.500; hears no other peer"),
        ({"catching_up": {"done": 2, "known": 7}, "listening": 1}, "catching up: 2 of 7; accuracy 0.500"),
        ({"held_back": "11 of 50 rows"}, "learning for itself: accuracy 0.500; updates held back: 11 of 50 rows"),
        ({"only_summaries": "train.engine is none"}, "summaries only: train.engine is none"),
        ({"membership": "waiting for a welcome"}, "waiting: waiting for a welcome"),
        ({"membership": "removed"}, "needs attention: removed from the swarm"),
        ({"banned": True}, "needs attention: banned for ever: its key has signed two messages with one number"),
    ],
)
def test_each_state_has_its_sentence(changes: dict[str, Any], text: str) -> None:
    found = headline({**FINE, **changes})
    assert found.text == text
    assert found.state in STATES


def test_a_newcomer_listens_and_what_is_wrong_comes_first_with_its_remedy() -> None:
    listening = {**FINE, "listening": 1_700_000_000_000, "catching_up": {"done": 0, "known": 0}}
    assert headline(listening).text.startswith("listening since 2023-11-1")
    full = {**listening, "unwritable": {"since": 0, "error": "no space left"}, "settled": 1}
    assert headline(full).text.startswith("needs attention: nothing is published since 19")
    assert "make room" in headline(full).remedy
    away = {**FINE, "following": 0, "connections": {"stored": "fine", "mqtt": "away: refused"}}
    assert headline(away).remedy == "mqtt is away: refused"
    for wrong in ({"banned": True}, {"membership": "removed"}, {"membership": "waiting"}, {"following": 0}):
        assert headline({**FINE, **wrong}).remedy


def test_a_gain_is_told_with_its_sign_where_something_is_measured() -> None:
    assert "accuracy 0.500, +0.0123 in 10 min;" in headline(FINE, (0.0123, 600)).text
    assert "accuracy 0.500, -0.01 in 10 min;" in headline(FINE, (-0.01, 599)).text
    assert "10 min" not in headline({**FINE, **NOTHING}, (0.1, 600)).text
