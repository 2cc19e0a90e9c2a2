"""What of a model's judgement, and of a status, may be read far away. Pure.

Who controls the weights, as other members do, makes of a score any function of a window: digit by digit its features.
So a score goes out only where its owner says so, and never where it can be a reading itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from learnae.config.privacy_section import HIDDEN, SCORE
from learnae.ports import Inference

_DIGITS = 1  # of how sure a model is of a class: tenths
# the text of some may quote what a source has read; a board's temperature is what some sources read
_PRIVATE = {"last_problems", "error", "detail", "unknown_labels", "temperature", "times_slower_by_heat", "drift"}
_COUNTS = ("count", "not_finite")
_FIGURES = ("loss", "accuracy", "mae", "r2", "training_loss")  # of rows that are too few to publish anything of


class Judgement(Enum):
    """What a model's score of a window is."""

    CLASS = "the probability of a class"
    VALUE = "a value"
    FORECAST = "a value to come"
    ANOMALY = "an error of reconstruction"


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What is shown of results: by the owner's choice (``[privacy] inference``), and by what they are.

    >>> Disclosure(Judgement.CLASS, "label").of(Inference(1.7e9, "walking", 0.8731))
    {'time': 1700000000.0, 'label': 'walking', 'score': 0.9}
    >>> Disclosure(Judgement.ANOMALY, "label").of(Inference(1.7e9, None, 0.75, threshold=0.5))
    {'time': 1700000000.0, 'label': None, 'anomaly': True}
    >>> Disclosure(Judgement.VALUE, "score", is_raw=True).of(Inference(1.7e9, None, 21.5)) is None
    True
    """

    judgement: Judgement = Judgement.ANOMALY
    choice: str = SCORE
    is_raw: bool = False  # of windows of readings as they are

    def of(self, result: Inference) -> dict[str, Any] | None:
        """Return what is shown of a result; None for nothing."""
        if self.choice == HIDDEN:
            return None
        fields = result.fields()
        if self.choice == SCORE and (self.judgement is Judgement.CLASS or not self.is_raw):
            return fields
        if self.judgement is Judgement.CLASS:
            return {**fields, "score": round(result.score, _DIGITS)}
        if self.judgement is Judgement.ANOMALY and result.anomaly is not None:
            return {name: value for name, value in fields.items() if name not in ("score", "threshold")}
        return None

    def status(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return a status without what may be a reading, at any depth; of results only how many there were."""
        shown = _public(status)
        if isinstance(results := shown.pop("inference", None), Mapping) and self.choice != HIDDEN:
            shown["inference"] = {name: results[name] for name in _COUNTS if name in results}
        if shown.get("held_back"):
            shown.update({name: None for name in _FIGURES if name in shown})
        return shown


def _public(status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _public(value) if isinstance(value, Mapping) else value
        for key, value in status.items()
        if key not in _PRIVATE
    }
