"""The learner of a peer whose updates are differentially private, around the one that its role made."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from learnae.config.privacy_section import PrivacySection
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.ports import Learner
from learnae.privacy.budget import Price
from learnae.privacy.policy import TrainingPrivacy
from learnae.privacy.spent import PrivacySpent
from learnae.runtime.private.policy import optimiser_of, overlap, training_privacy
from learnae.swarm.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Private:
    """Holds a learner, what its steps have spent, and what takes in the releases that own messages count (Options)."""

    learner: Learner
    spent: Callable[[], PrivacySpent | None] = lambda: None
    recall: Callable[[int], None] = lambda _: None

    @property
    def is_private(self) -> bool:
        """Return True if updates are differentially private."""
        return self.spent() is not None


def as_agreed(
    learner: Learner, dataset: Dataset, manifest: Manifest, section: PrivacySection, directory: Path
) -> Private:
    """Let ``learner`` train on ``dataset`` as the swarm and the owner of this machine want it.

    What rows have paid is in a file in ``directory``. Raises ModelError for a model that cannot be trained so,
    StateError for a damaged file.
    """
    policy = training_privacy(manifest, section)
    if policy is None:
        return Private(learner)
    rows_a_unit = overlap(manifest, policy)
    if isinstance(learner, PassiveLearner):
        return _idle(learner, policy, rows_a_unit, directory)
    from learnae.models.private.private_learner import PrivateLearner, SumsClipped  # noqa: PLC0415 - noise, and a database
    from learnae.privacy.budget_file import FILE  # noqa: PLC0415 - as above

    sums = cast(SumsClipped, learner)  # as all do that train
    made = PrivateLearner(sums, dataset, policy, optimiser_of(manifest), directory / FILE, rows_a_unit)

    def spent() -> PrivacySpent:
        return made.spent.bounded()

    return Private(made, spent, made.recall)


def _idle(learner: Learner, policy: TrainingPrivacy, rows_a_unit: int, directory: Path) -> Private:
    """Take no steps: summaries have noise of their own. What was spent before, when this peer trained, stays spent."""
    from learnae.privacy.accountant import epsilon_of, noise_multiplier  # noqa: PLC0415 - boards with little memory
    from learnae.privacy.budget_file import FILE, RowBudget  # noqa: PLC0415 - as above

    if not (directory / FILE).exists():
        nothing = PrivacySpent(0.0, policy.delta, 0, policy.protects)
        return Private(learner, lambda: nothing)
    multiplier = rows_a_unit * noise_multiplier(policy.epsilon, policy.delta, policy.releases)
    budget = RowBudget(directory / FILE, Price(1 / multiplier**2, policy.releases, policy.partitions))

    def spent() -> PrivacySpent:
        epsilon = epsilon_of(rows_a_unit * math.sqrt(budget.ledger.most_spent), policy.delta)
        return PrivacySpent(epsilon, policy.delta, budget.ledger.releases, policy.protects).bounded()

    return Private(learner, spent, budget.recall)
