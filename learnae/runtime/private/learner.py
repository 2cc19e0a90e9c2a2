"""The learner of a peer whose updates are differentially private, around the one that its role made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from learnae.config.privacy_section import PrivacySection
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.ports import Learner
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
    if isinstance(learner, PassiveLearner):  # it takes no steps, and sends summaries, which have noise of their own
        nothing = PrivacySpent(0.0, policy.delta, 0, policy.protects)
        return Private(learner, lambda: nothing)
    from learnae.models.private.private_learner import PrivateLearner, SumsClipped  # noqa: PLC0415 - noise, and a database
    from learnae.privacy.budget_file import FILE  # noqa: PLC0415 - as above

    sums = cast(SumsClipped, learner)  # as all do that train
    made = PrivateLearner(sums, dataset, policy, optimiser_of(manifest), directory / FILE, overlap(manifest, policy))

    def spent() -> PrivacySpent:
        return made.spent.bounded()

    return Private(made, spent, made.recall)
