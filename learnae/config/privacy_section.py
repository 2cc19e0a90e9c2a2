"""``[privacy]``: what the owner of a machine demands before anything leaves it, whatever a manifest says."""

from dataclasses import dataclass
from typing import Annotated, get_args

from learnae.config.sections import check_choice
from learnae.errors import ConfigurationError

LABEL, SCORE, HIDDEN = "label", "score", "off"
Shown = Annotated[str, (LABEL, SCORE, HIDDEN)]
_MOST = 10**9
_MOST_PARTITIONS = 100  # as in a manifest


@dataclass(frozen=True, slots=True)
class PrivacySection:
    """``[privacy]``: floors of this machine, and differential privacy of its own.

    At least ``rows`` distinct rows before the first update; as many new or drawn again, and ``draws`` rows drawn in
    all, between two. ``merge_first``: nothing is published before others' weights were merged. ``clip`` bounds each
    row's gradient. ``exact_frames``, ``raw_windows`` and ``foreign_start`` accept what is refused without them: frames
    of float32 or float16, raw windows in a first Dense layer, and starting weights that another chose. ``inference``
    says what others see of it: the label, also its score, or nothing (off). With an ``epsilon`` this peer's updates are
    differentially private at ``delta``, or stricter if the manifest is; 0 leaves that to the manifest. A noisy step is
    then on one of ``partitions`` of the rows, in turn; 0 for as many as the manifest says.
    """

    rows: int = 100
    draws: int = 256
    merge_first: bool = True
    clip: bool = True
    exact_frames: bool = False
    raw_windows: bool = False
    foreign_start: bool = False
    inference: Shown = LABEL
    epsilon: float = 0.0
    delta: float = 1e-5
    partitions: int = 0

    def __post_init__(self) -> None:
        for key in ("rows", "draws"):
            if not 0 <= getattr(self, key) <= _MOST:
                raise ConfigurationError(f"privacy.{key} is {getattr(self, key)}", f"use a number from 0 to {_MOST}")
        check_choice("privacy.inference", self.inference, get_args(Shown)[1])
        if not (self.epsilon == 0 or 0.01 <= self.epsilon <= 100):
            raise ConfigurationError(
                f"privacy.epsilon is {self.epsilon}", "use a number from 0.01 to 100, 0 as the manifest"
            )
        if not 1e-12 <= self.delta <= 0.01:
            raise ConfigurationError(f"privacy.delta is {self.delta}", "use a number from 1e-12 to 0.01")
        if not 0 <= self.partitions <= _MOST_PARTITIONS:
            raise ConfigurationError(
                f"privacy.partitions is {self.partitions}",
                f"use a number from 1 (each step is on all rows) to {_MOST_PARTITIONS}, 0 as the manifest",
            )
