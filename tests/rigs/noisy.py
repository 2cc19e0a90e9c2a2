"""A learner whose steps are releases with noise, and which counts them on a disk: stands for the real one."""

from typing import Any

from learnae.models.wrapped_learner import WrappedLearner
from learnae.overriding import override
from learnae.ports import Learner, Trained
from learnae.privacy.spent import WINDOW, PrivacySpent

EACH = 0.05  # of epsilon that a release costs, for people who count along


class Disk:
    """What outlives the process: releases that were paid for, and how many more the rows allow."""

    def __init__(self, left: int = 80) -> None:
        self.releases, self.left = 0, left


class NoisyLearner(WrappedLearner):
    """Takes steps as long as the ``disk`` has any left; pays for each before it is taken."""

    def __init__(self, inner: Learner, disk: Disk) -> None:
        super().__init__(inner)
        self.disk = disk

    @override
    def train(self, steps: int) -> Trained:
        taken = Trained(0, 0, 0.0)
        for count in range(1, steps + 1):
            if not self.disk.left:
                break
            self.disk.left -= 1
            self.disk.releases += 1
            done = self.inner.train(1)
            taken = Trained(count, done.rows, done.loss)
        return taken

    def spent(self) -> PrivacySpent:
        return PrivacySpent(EACH * self.disk.releases, 1e-5, self.disk.releases, WINDOW)

    def recall(self, releases: int) -> None:
        unknown = max(0, releases - self.disk.releases)
        self.disk.releases += unknown
        self.disk.left = max(0, self.disk.left - unknown)

    def options(self) -> dict[str, Any]:
        """What the peer is told of it."""
        return {"privacy": self.spent, "recall": self.recall}
