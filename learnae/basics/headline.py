"""One sentence about a peer: how it is, and what to do if something is wrong. All that show a peer say the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learnae.text import counted, decimal, significant

ATTENTION, WAITING, CATCHING_UP, LISTENING = "needs attention", "waiting", "catching up", "listening"
HELD_BACK, SUMMARIES, SETTLED, ALONE, LEARNING = "held back", "summaries", "settled", "alone", "learning"
STATES = (ATTENTION, WAITING, CATCHING_UP, LISTENING, HELD_BACK, SUMMARIES, SETTLED, ALONE, LEARNING)
_AT_WORK = ("open", "member", None)  # of a status' membership


@dataclass(frozen=True, slots=True)
class Headline:
    """One of STATES, the sentence that begins with it, and what to do; "" where there is nothing to do."""

    state: str
    text: str
    remedy: str = ""


def headline(status: Mapping[str, Any], gain: tuple[float, float] | None = None) -> Headline:
    """Say how the peer of a status (Peer.status) is; ``gain`` is of its score, in the last so many seconds, if known.

    >>> headline({"accuracy": 0.94, "steps": 9, "following": 7, "muted": {"k": "bad"}}, gain=(0.0123, 590.0)).text
    'learning: accuracy 0.940, +0.0123 in 10 min; merges 6 of 7 others'
    """
    return _trouble(status) or _way_in(status) or _at_work(status, gain)


def _trouble(status: Mapping[str, Any]) -> Headline | None:
    if status.get("banned"):
        text = "banned for ever: its key has signed two messages with one number"
        remedy = "stop what else uses the key, move key.pem and state away, and join again"
        return Headline(ATTENTION, f"{ATTENTION}: {text}", remedy)
    if found := status.get("unwritable"):
        since = _moment(found.get("since"))
        text = f"{ATTENTION}: nothing is published since {since}: {found.get('error')}"
        return Headline(ATTENTION, text, "make room on the disk, or let it be written to: the peer goes on by itself")
    if status.get("membership") == "removed":
        return Headline(ATTENTION, f"{ATTENTION}: removed from the swarm", "ask its members; learnae members")
    return None


def _way_in(status: Mapping[str, Any]) -> Headline | None:
    membership = status.get("membership")
    if membership not in _AT_WORK:
        return Headline(WAITING, f"{WAITING}: {membership}", "a member that runs lets it in: learnae members, there")
    found = status.get("catching_up")
    if found and found.get("known"):
        text = f"{CATCHING_UP}: {found.get('done')} of {found['known']}; {_score(status)}"
        return Headline(CATCHING_UP, text, "it publishes by itself once it knows what the others know")
    if status.get("listening") is not None:
        text = f"{LISTENING} since {_moment(status['listening'])}: hears others before it publishes; {_score(status)}"
        return Headline(LISTENING, text, "it publishes by itself; if others should be there, look at its connections")
    return None


def _at_work(status: Mapping[str, Any], gain: tuple[float, float] | None) -> Headline:
    score = _score(status)
    if gain is not None and score[:1] != "n":
        score += f", {gain[0]:+.3g} in {gain[1] / 60:.0f} min"
    if why := status.get("only_summaries"):
        return Headline(SUMMARIES, f"{SUMMARIES} only: {why}", "")
    if why := status.get("held_back"):
        return Headline(HELD_BACK, f"learning for itself: {score}; updates held back: {why}", "")
    others = status.get("following", max(0, (status.get("peers") or 0) - 1))
    if status.get("settled") is not None:
        return Headline(SETTLED, f"{SETTLED}: {score}; quiet until there is something new", "")
    if not others:
        return Headline(ALONE, f"{ALONE}: {score}; hears no other peer", _why_alone(status))
    muted = min(len(status.get("muted") or ()), others)
    merged = f"{others - muted} of {counted(others, 'other')}" if muted else counted(others, "other")
    remedy = "learnae peers says why none is merged" if muted == others else ""
    return Headline(LEARNING, f"{LEARNING}: {score}; merges {merged}", remedy)


def _why_alone(status: Mapping[str, Any]) -> str:
    """Return what to do about being alone: name the first link that is away."""
    links = status.get("connections")
    for name, state in links.items() if isinstance(links, dict) else ():
        if isinstance(state, str) and state.startswith("away"):
            return f"{name} is {state}"
    return "let another machine in: learnae invite, or learnae join there"


def _score(status: Mapping[str, Any]) -> str:
    """Return how good the model is, or why that is not known."""
    shown = f"nothing measured yet{_why_unmeasured(status)}"
    for name, label in (("loss", "loss"), ("r2", "R²"), ("accuracy", "accuracy")):  # the last that there is
        if (value := status.get(name)) is not None:
            shown = f"{label} {significant(value) if name == 'loss' else decimal(value)}"
    if (own := (status.get("personal") or {}).get("score")) is not None:
        shown += f" (for itself {decimal(own)}, {status['personal']['model']})"
    return shown


def _why_unmeasured(status: Mapping[str, Any]) -> str:
    if status.get("listening") is not None:
        return " (it hears others first)"
    why = status.get("unmeasured") or ("its first steps are being taken" if not status.get("steps") else "")
    return f" ({why})" if why else ""


def _moment(milliseconds: object) -> str:
    if not isinstance(milliseconds, int):
        return "some time"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))
