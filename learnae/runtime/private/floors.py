"""From ``[privacy]`` to the floors of a peer's updates."""

from learnae.config.privacy_section import PrivacySection
from learnae.models.dataset import Dataset
from learnae.privacy.floors import Floors, ReleaseFloor


def release_floor(section: PrivacySection, data: Dataset, is_private: bool = False) -> ReleaseFloor:
    """Return what holds back updates that were trained on ``data``.

    Where updates ``is_private``, differentially, noise protects each row, and times must not depend on their number.
    """
    least = (0, 0) if is_private else (section.rows, section.draws)
    return ReleaseFloor(Floors(*least, section.merge_first), data.train)
