"""A peer whose learner's steps are releases, counted on a disk: the budget's part alone, without noise."""

from dataclasses import replace
from typing import Any

from builders import tiny_dataset, tiny_manifest
from machine import Machine

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.models.wrapped_learner import WrappedLearner
from learnae.peer.peer import Options, Peer
from learnae.peer.publishing_policy import PublishPolicy
from learnae.ports import Learner, Trained
from learnae.privacy.spent import WINDOW, PrivacySpent
from learnae.protocol.bodies import Update
from learnae.protocol.messages import Message

EVERY = 5_000  # ms between two updates
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


PLAIN = Options(
    "me", "agent", 8, seed=1, steps=4, publish=PublishPolicy(EVERY, least_change=10.0), patience=2, is_archive=True
)


class Private(Machine):
    """A machine whose peer is private; the disk outlives it."""

    def __init__(self, left: int = 80, options: Options = PLAIN, **more: Any) -> None:
        self.disk, self.options = Disk(left), options
        super().__init__(**more)

    def boot(self) -> Peer:
        super().boot()
        self.noisy = NoisyLearner(self.learner, self.disk)
        self.learner = self.noisy  # type: ignore[assignment]
        return self.compose(replace(self.options, **self.noisy.options()))

    def updates(self) -> list[Message]:
        return [message for message in self.said() if isinstance(message.body, Update)]


def with_rows(count: int) -> Private:
    """Return a machine that trains on the first rows of the others' data."""
    manifest = tiny_manifest()
    full, data = tiny_dataset(manifest), Dataset(manifest.model, manifest.objective)
    data.add(full.train.rows[:count], full.train.targets[:count])
    data.add(full.holdout.rows[: count // 4], full.holdout.targets[: count // 4], holdout=True)
    return Private(manifest=manifest, data=data)
