"""Members who sum, on a clock that is moved by hand; messages are lost, repeated and forged as the test says."""

import random
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from builders import NOW, SWARM, identity

from learnae.basics.error_log import ErrorLog
from learnae.errors import NotWrittenError
from learnae.peer.masking.sums import MaskedSums
from learnae.privacy.masking.noise_share import Integers
from learnae.protocol.limits import HOUR
from learnae.protocol.sum_bodies import SumBody

HORIZON = 24 * HOUR
TICK_MS = 1000
VALUES = 6

Loses = Callable[[int, int, SumBody], bool]  # sender, receiver, what it says


class Numbers:
    """A source whose vectors tell member and draw: a member's own is 100^number, and a little more with each draw."""

    def __init__(self, number: int, values: int = VALUES, most_releases: int = 1) -> None:
        self.number, self.values, self.most_releases, self.draws = number, values, most_releases, 0

    def draw(self, members: int) -> Integers:
        self.draws += 1
        told = np.array([self.number + 1, 1, members, self.draws, -5, 2**20], np.int64)
        return np.resize(told, self.values)


class Summer:
    """A member with its disk: what it saved before it spoke."""

    def __init__(self, number: int, source: Numbers | None) -> None:
        self.number, self.source, self.author = number, source, identity(number).author
        self.disk = b""
        self.seq = self.checkpointed = 0
        self.is_down = False
        self.said: list[SumBody] = []
        self.errors = ErrorLog()
        self.boot()

    def boot(self, now: int = NOW) -> None:
        chance = random.Random(f"{self.number}/{now}")
        self.sums = MaskedSums(
            self.author, SWARM, VALUES, HORIZON, lambda _: self.source, self.errors, chance.randbytes
        )
        self.sums.restore(self.disk, now)

    @property
    def kinds(self) -> list[str]:
        return [body.KIND for body in self.said]


class Swarm:
    """So many summers; ``loses`` decides what does not arrive, ``on_say`` sees what is saved and not yet shown."""

    def __init__(self, count: int, *, sources: Callable[[int], Numbers | None] = Numbers) -> None:
        self.now = NOW
        self.summers = [Summer(number, sources(number)) for number in range(count)]
        self.loses: Loses = lambda *_: False
        self.on_say: Callable[[Summer, SumBody], None] = lambda *_: None
        self.gone: set[int] = set()  # no members any more

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, or until something holds; return True if it does."""
        end = self.now + seconds * 1000
        while self.now < end and not until():
            self.now += TICK_MS
            for summer in self.summers:
                if not summer.is_down:
                    with suppress(NotWrittenError):
                        self.act(summer)
        return until()

    def act(self, summer: Summer) -> bool:
        members = [each.author for each in self.summers if each.number not in self.gone]
        return summer.sums.act(self.now, members, summer.checkpointed, lambda body: self._say(summer, body))

    def _say(self, summer: Summer, body: SumBody) -> None:
        summer.disk = summer.sums.standing.to_bytes()
        self.on_say(summer, body)  # may stop the machine: saved, and not yet seen
        summer.said.append(body)
        self.spread(summer, body)

    def spread(self, summer: Summer, body: SumBody) -> None:
        """Let all others hear what a summer, or who speaks with its key, says."""
        summer.seq += 1
        for other in self.summers:
            if other is not summer and not other.is_down and not self.loses(summer.number, other.number, body):
                other.sums.note(summer.author, summer.seq, body, self.now)

    def is_done(self) -> bool:
        return all(summer.sums.standing.is_done for summer in self.summers if not summer.is_down and summer.source)

    def totals(self) -> set[tuple[int, ...]]:
        """Return the last total of each who knows one."""
        known = [summer.sums.totals for summer in self.summers if not summer.is_down]
        return {tuple(totals[-1].values.tolist()) for totals in known if totals}
