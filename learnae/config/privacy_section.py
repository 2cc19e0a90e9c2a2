"""``[privacy]``: what the owner of a machine demands before anything leaves it, whatever a manifest says."""

from dataclasses import dataclass

from learnae.config.keys import Range, check_keys, setting

LABEL, SCORE, HIDDEN = "label", "score", "off"
_MOST = 10**9
_MOST_PARTITIONS = 100  # as in a manifest


@dataclass(frozen=True, slots=True)
class PrivacySection:
    """``[privacy]``: floors of this machine, and differential privacy of its own."""

    rows: int = setting(
        100,
        "distinct rows to train on before the first update; as many new or drawn again between two",
        Range(0, _MOST),
    )
    draws: int = setting(256, "rows drawn in all (steps x batch) between two updates", Range(0, _MOST))
    merge_first: bool = setting(
        True,
        "nothing is published before weights of others were merged; a founder that hears none is excepted",
    )
    clip: bool = setting(True, "the gradient of each row is bounded; where rows have none of their own, each update")
    exact_frames: bool = setting(False, "`true`: accept a swarm whose frames are exact (`f32`, `f16`), not `q8`")
    raw_windows: bool = setting(False, "`true`: accept a swarm that gives raw windows to a Dense layer")
    foreign_start: bool = setting(False, "`true`: accept starting weights that another has chosen")
    inference: str = setting(
        LABEL,
        "what others see of the model's judgement: the label, also its score, or nothing",
        choices=(LABEL, SCORE, HIDDEN),
    )
    epsilon: float = setting(
        0.0,
        "differential privacy of this peer's updates, stricter if the manifest is",
        Range(0.01, 100, zero="as the manifest has it"),
    )
    delta: float = setting(1e-5, "with `epsilon`: how likely it fails", Range(1e-12, 0.01))
    partitions: int = setting(
        0,
        "of the rows, one for each noisy step in turn: shorter steps, more of them; 1: each step is on all rows",
        Range(1, _MOST_PARTITIONS, zero="as the manifest has it"),
    )

    def __post_init__(self) -> None:
        check_keys(self, "privacy")
