"""A day of virtual time, with restarts and a restored backup: no row takes part more often than is reported of it."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from learnae.basics.overriding import override
from learnae.models.batch_learner import ClippedSum
from learnae.models.dataset import Array, Dataset
from learnae.models.private.private_learner import PrivateLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner
from learnae.privacy.accountant import epsilon_of, mu_of, noise_multiplier
from learnae.privacy.budget_file import FILE
from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.privacy.spent import PrivacySpent
from learnae.protocol.limits import HOUR, MINUTE
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

POLICY = TrainingPrivacy(epsilon=4.0, releases=40)
MANIFEST = Manifest(
    "day", dense_config(3, (), 2, "softmax"), "sparse_categorical_crossentropy",
    training=TrainingPolicy(4, 8), privacy=PrivacyPolicy(POLICY),
)  # fmt: skip
SETTING = Setting(seed=3, period=MINUTE, every=10 * MINUTE)
NOISE = noise_multiplier(POLICY.epsilon, POLICY.delta, POLICY.releases)


class Witness(NumpyLearner):
    """Counts in how many steps each row took part, in all lives of its machine."""

    seen: Counter[bytes]

    @override
    def clipped_sum(self, rows: Array, targets: Array, bound: float) -> ClippedSum:
        self.seen.update(row.tobytes() for row in rows)
        return super().clipped_sum(rows, targets, bound)


class Day:
    """Three machines whose disks the test can copy."""

    def __init__(self, root: Path) -> None:
        self.rng = np.random.default_rng(1)
        self.data = [Dataset(MANIFEST.model, MANIFEST.objective) for _ in range(3)]
        self.seen = [Counter[bytes]() for _ in self.data]
        self.disks = [root / str(number) for number in range(3)]
        for number, disk in enumerate(self.disks):
            disk.mkdir()
            self.collect(number)
        self.swarm = Simulation(MANIFEST, self.data, SETTING, self.learner)

    def collect(self, number: int) -> None:
        rows = self.rng.normal(size=(12, 3))
        self.data[number].add(rows, (rows.sum(axis=1) > 0).astype(int))

    def learner(self, manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        number = next(index for index, each in enumerate(self.data) if each is data)
        inner = Witness(manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng)
        inner.seen = self.seen[number]
        return PrivateLearner(inner, data, POLICY, manifest.optimiser, path=self.disks[number] / FILE)

    def backup(self, number: int) -> tuple[bytes | None, dict[object, bytes]]:
        member = self.swarm.members[number]
        shutil.copytree(self.disks[number], self.disks[number].with_suffix(".tar"))
        return member._state.load(), dict(member.host.blocks)

    def restore(self, number: int, saved: tuple[bytes | None, dict[object, bytes]]) -> None:
        member, (state, blocks) = self.swarm.members[number], saved
        assert state is not None
        self.swarm.crash(number)
        member._state.save(state)
        member.host.blocks = dict(blocks)
        shutil.rmtree(self.disks[number])
        shutil.copytree(self.disks[number].with_suffix(".tar"), self.disks[number])
        self.swarm.restart(number)

    def told(self, number: int) -> Iterator[PrivacySpent]:
        """What a machine's updates say at the others: perhaps a cycle less than it has taken by now."""
        members = self.swarm.members
        for member in members:
            news = member.peer.following.news.get(members[number].identity.author)
            if news and news.update.privacy:
                yield news.update.privacy


@pytest.mark.slow
def test_what_is_reported_is_never_less_than_what_was_released(tmp_path: Path) -> None:
    day, rng, saved = Day(tmp_path), random.Random(7), None
    for hour in range(24):
        for number in range(3):
            if hour % 4 == number:
                day.collect(number)
            if rng.random() < 0.3:
                day.swarm.crash(number)
                day.swarm.run(rng.randrange(20 * MINUTE))
                day.swarm.restart(number)
        if hour == 6:
            saved = day.backup(0)
        if hour == 10:
            assert saved is not None
            day.restore(0, saved)
        day.swarm.run(HOUR)
        for number, seen in enumerate(day.seen):
            most = max(seen.values(), default=0)
            assert most <= POLICY.releases
            spent = day.swarm.members[number].peer.status()["privacy"]
            assert spent["epsilon"] >= epsilon_of(mu_of([NOISE] * most), POLICY.delta) * (1 - 1e-9)
            assert spent["epsilon"] <= POLICY.epsilon * (1 + 1e-6)
            assert all(spent["releases"] - told.releases <= 4 for told in day.told(number)), "others hear it"
    assert all(max(seen.values()) == POLICY.releases for seen in day.seen[1:]), "rows take part until they have paid"
    assert all(len(seen) > 60 for seen in day.seen[1:]), "and new ones follow"
