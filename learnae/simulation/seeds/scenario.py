"""What happens to a swarm: drawn from a seed, and made smaller one piece at a time."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from typing import Any, TypeVar

from learnae.basics.overriding import override
from learnae.errors import ConfigurationError
from learnae.simulation.attacks import ATTACKS, HONEST

SECOND = 1000
LEAST_PEERS, MOST_PEERS = 2, 8  # one that is alone says nothing after a power cut until it hears another
OPEN, INVITE = "open", "invite"
KILL, POWER_CUT, CLOCK, FULL, PARTITION = "kill", "power-cut", "clock", "full-disk", "partition"
EQUIVOCATE, GARBAGE, REPLAY, FLOOD, DATES = "equivocate", "garbage", "replay", "flood", "dates"
_FAULTS = (KILL, KILL, POWER_CUT, POWER_CUT, CLOCK, FULL, PARTITION)  # a crash is what finds most
_STRANGERS = (EQUIVOCATE, GARBAGE, REPLAY, FLOOD, DATES)
_KINDS = (KILL, POWER_CUT, CLOCK, FULL, PARTITION, *_STRANGERS)
_PEER_SECONDS = 120  # of trouble: what a seed costs follows from these
_FUSE = 30  # disk operations: those of a tick or two
_JUMPS = (2, 30, 90)  # seconds: within the skew, beyond it, and so far that a peer hears others first


@dataclass(frozen=True, slots=True)
class Event:
    """At ``time`` (ms) something of a ``kind`` happens to ``peer``, or comes from a stranger, for ``length`` ms.

    ``amount`` is the number of disk operations until a crash, the ms of a clock's jump, the groups of a partition.
    """

    time: int
    kind: str
    peer: int = 0
    length: int = 0
    amount: int = 0

    @override
    def __str__(self) -> str:
        amount = f" {self.amount:+}" if self.kind == CLOCK else f" {self.amount}" if self.amount else ""
        who = "" if self.kind == PARTITION or self.kind in _STRANGERS else f" of peer {self.peer}"
        return f"{self.time / SECOND:7.1f} s  {self.kind}{amount}{who}, for {self.length / SECOND:.1f} s"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A swarm of ``peers``, its rules, its network and what happens to it in the first ``seconds``.

    ``lie`` is what the last peer publishes in place of its weights (attacks.ATTACKS). ``delay`` is the longest in ms,
    ``loss`` and ``doubles`` are shares of packets, ``horizon``, ``skew`` and ``period`` ms; ``every`` updates there is
    a keyframe. Updates are differentially ``private``; each peer ``settles`` when it gains nothing more.
    """

    seed: int
    peers: int
    seconds: int
    membership: str = OPEN
    horizon: int = 60 * SECOND
    skew: int = 8 * SECOND
    period: int = 2 * SECOND
    every: int = 8
    listens: bool = False
    archive: bool = False
    private: bool = False
    settles: bool = False
    delay: int = 100
    loss: float = 0.0
    doubles: float = 0.0
    lie: str = HONEST
    events: tuple[Event, ...] = ()

    def to_fields(self) -> dict[str, Any]:
        """Return a plain map for JSON."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Scenario:
        """Read what ``to_fields`` returned; raises ConfigurationError."""
        try:
            events = tuple(_typed(Event(0, KILL), Event(**event)) for event in fields["events"])
            scenario = _typed(cls(0, LEAST_PEERS, 1), cls(**{**fields, "events": events}))
        except (TypeError, KeyError) as error:
            raise ConfigurationError(f"this is no scenario: {error}", "take one that --json has printed") from error
        bounds = {
            "peers": (LEAST_PEERS, MOST_PEERS),
            "seconds": (1, 3600),
            "period": (100, 60_000),
            "every": (1, 1024),
            "delay": (10, 60_000),
        }
        for name, (least, most) in bounds.items():
            if not least <= (value := getattr(scenario, name)) <= most:
                raise ConfigurationError(f"{name} is {value} in this scenario", f"it goes from {least} to {most}")
        return scenario

    @override
    def __str__(self) -> str:
        weather = f"delay to {self.delay} ms, loss {self.loss:.0%}, doubles {self.doubles:.0%}"
        flags = [name for name in ("listens", "archive", "private", "settles") if getattr(self, name)]
        what = ", ".join([f"{self.peers} peers", self.membership, *flags, f"{self.seconds} s"])
        lines = [f"{what}; {weather}; horizon {self.horizon} ms, keyframes every {self.every}"]
        if self.lie != HONEST:
            lines.append(f"peer {self.peers - 1} publishes {self.lie}")
        return "\n".join([*lines, *map(str, self.events)])


T = TypeVar("T", Event, Scenario)


def _typed(example: T, found: T) -> T:
    """Return ``found``; raises TypeError if a field has another type than in ``example``, or names nothing known."""
    for name in (field.name for field in fields_of(example)):
        value, usual = getattr(found, name), getattr(example, name)
        if type(value) is not type(usual):
            raise TypeError(f"{name} is {value!r}")
    for name, known in (("kind", _KINDS), ("membership", (OPEN, INVITE)), ("lie", ATTACKS)):
        if getattr(found, name, next(iter(known))) not in known:
            raise TypeError(f"{name} is {getattr(found, name)!r}, and none of {', '.join(known)}")
    return found


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = random.Random(f"scenario {seed}")
    peers = min(LEAST_PEERS + int(rng.expovariate(0.6)), MOST_PEERS)
    seconds, horizon = max(20, _PEER_SECONDS // peers), rng.choice((16, 40, 600)) * SECOND
    scenario = Scenario(
        seed,
        peers,
        seconds,
        membership=rng.choice((OPEN, OPEN, INVITE)),
        horizon=horizon,
        skew=min(8 * SECOND, horizon // 5),
        every=rng.choice((2, 8, 32)),
        listens=rng.random() < 0.5,
        archive=rng.random() < 0.1,
        private=rng.random() < 0.2,
        settles=rng.random() < 0.2,
        delay=rng.choice((100, 400, 2500)),
        loss=rng.choice((0.0, 0.1, 0.3)),
        doubles=rng.choice((0.0, 0.2)),
        lie=rng.choice([kind for kind in ATTACKS if kind != HONEST]) if peers > 3 and rng.random() < 0.2 else HONEST,
    )
    if scenario.lie != HONEST:  # private learners say what they say
        scenario = replace(scenario, private=False)
    events = [_fault(rng, scenario) for _ in range(rng.randint(0, 6 + peers))]
    if rng.random() < 0.4:
        events += [_stranger(rng, scenario) for _ in range(rng.randint(1, 2))]
    return replace(scenario, events=tuple(sorted(events, key=lambda event: event.time)))


def _fault(rng: random.Random, scenario: Scenario) -> Event:
    time = rng.randrange(scenario.seconds * SECOND)
    kind, peer = rng.choice(_FAULTS), rng.randrange(scenario.peers)
    length = int(rng.choice((0.5, 3, 20)) * SECOND)
    amount = 0
    if kind in (KILL, POWER_CUT):
        amount = rng.randrange(_FUSE)
    elif kind == CLOCK:
        amount = rng.choice((-1, 1)) * rng.choice(_JUMPS) * SECOND
    elif kind == PARTITION:
        amount = rng.randint(2, 3)
    return Event(time, kind, peer, length, amount)


def _stranger(rng: random.Random, scenario: Scenario) -> Event:
    time = rng.randrange(scenario.seconds * SECOND)
    return Event(time, rng.choice(_STRANGERS), 0, int(rng.choice((1, 5, 15)) * SECOND))
