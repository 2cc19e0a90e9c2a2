"""What goes wrong and when: a list that follows from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

KILL, STOP, PARTITION, LOSS, SLOW = "kill -9", "SIGSTOP", "partition", "20 % loss", "slow line"
BROKER, KUBO, FULL, CLOCK = "broker killed", "Kubo killed", "disk full", "clock jumps"
KINDS = (KILL, STOP, PARTITION, LOSS, SLOW, BROKER, KUBO, FULL, CLOCK)

_KILLED = (0.5, 4.0)  # seconds that a killed peer is away
_STOPPED = (2.0, 8.0)
_FULL_SECONDS = 10.0
_JUMPS = (-90.0, -5.0, 5.0, 90.0)  # seconds, within what a swarm takes for a clock that is wrong
_JUMP_SECONDS = 20.0
_KILLS = 0.8  # of kills and stops
_CHURN = 45.0  # seconds away on average, and as long here


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """``kind`` of KINDS begins ``at`` seconds after the start, at machine ``target`` (-1: all), for ``seconds``.

    ``size`` is by how many seconds a clock jumps.
    """

    at: float
    kind: str
    target: int
    seconds: float
    size: float = 0.0


def plan(seed: int, seconds: float, machines: int, every: float) -> list[Fault]:
    """Return the faults of a run of so many seconds: a kill ``every`` so often on average, all other kinds besides.

    All are over when the run ends. A partition is of the second half of the machines; what is said to last a minute
    lasts a fifteenth of the run, if that is shorter.
    """
    rng, long = random.Random(seed), min(60.0, seconds / 15)
    faults = []
    for share in (0.2, 0.6):  # of the run: what comes twice
        faults.append(Fault(share * seconds, PARTITION, -1, long))
        faults.append(Fault((share + 0.1) * seconds, BROKER, -1, min(10.0, long)))
        faults.append(Fault((share + 0.2) * seconds, KUBO, -1, min(10.0, long)))
    faults.append(Fault(0.45 * seconds, LOSS, -1, long))
    faults.append(Fault(0.9 * seconds, SLOW, -1, long))
    for kind, longest in ((FULL, _FULL_SECONDS), (CLOCK, _JUMP_SECONDS)):
        for share in (0.35, 0.75):
            size = rng.choice(_JUMPS) if kind == CLOCK else 0.0
            faults.append(Fault(share * seconds, kind, rng.randrange(machines), min(longest, long), size))
    back = [0.0] * machines  # when a peer that was killed or stopped runs again
    at = rng.expovariate(1 / every)
    while at < seconds:
        kind, (least, most) = (KILL, _KILLED) if rng.random() < _KILLS else (STOP, _STOPPED)
        target = rng.choice([index for index in range(machines) if back[index] < at] or [0])
        fault = Fault(at, kind, target, min(rng.uniform(least, most), seconds - at))
        if back[target] < at:
            faults.append(fault)
            back[target] = at + fault.seconds
        at += rng.expovariate(1 / (every * _KILLS))
    return sorted(faults)


def churn(seed: int, seconds: float, machines: int) -> list[Fault]:
    """Return kills by which each machine is away half of the time; all are back at the end."""
    return sorted(
        fault for index in range(machines) for fault in _comings(random.Random(f"{seed}/{index}"), seconds, index)
    )


def _comings(rng: random.Random, seconds: float, index: int) -> Iterator[Fault]:
    at = rng.expovariate(1 / _CHURN)
    while at < seconds:
        away = min(rng.expovariate(1 / _CHURN), seconds - at)
        yield Fault(at, KILL, index, away)
        at += away + rng.expovariate(1 / _CHURN)
