"""What others are shown of a private peer is the same, whatever its rows are."""

from collections.abc import Mapping, Sequence
from typing import Any

from noisy import Private, with_rows

from learnae.ports import Inference, Monitor
from learnae.runtime.private.shown import CommonMonitor, PrivateMonitor, shown


class Screen(Monitor):
    """What others see."""

    def __init__(self) -> None:
        self.states: list[Mapping[str, Any]] = []
        self.results: list[Inference] = []

    def report(self, status: Mapping[str, Any]) -> None:
        self.states.append(status)

    def infer(self, results: Sequence[Inference]) -> None:
        self.results += results

    def close(self, status: Mapping[str, Any]) -> None:
        self.states.append(status)


def ticked(rows: int) -> dict[str, Any]:
    machine: Private = with_rows(rows)
    machine.tick(31)
    status = machine.peer.status()
    facts = {
        "training_rows": rows,
        "samples": 50 * rows,
        "unlabelled": rows,
        "engine": "numpy",
        "inference": {"n": rows},
    }
    return {**status, **facts}


def test_no_row_changes_what_is_shown() -> None:
    few, many = ticked(8), ticked(24)
    assert (few["loss"], few["holdout_rows"]) != (many["loss"], many["holdout_rows"])
    assert shown(few) == shown(many)
    assert shown(few)["privacy"]["releases"] > 0


def test_nothing_else_reaches_the_monitor() -> None:
    screen, status = Screen(), ticked(8)
    monitor = PrivateMonitor(screen)
    monitor.report(status)
    monitor.infer([Inference(1.7e9, "PEN", 0.75)])
    monitor.close(status)
    assert screen.states == [shown(status)] * 2
    assert not screen.results


def test_nothing_of_the_personal_model_is_sent_without_privacy_either() -> None:
    screen, result = Screen(), Inference(1.7e9, "PEN", 0.75)
    monitor = CommonMonitor(screen)
    monitor.report({"name": "pump", "personal": {"score": 0.9}})
    monitor.infer([result])
    monitor.close({"name": "pump", "personal": {"score": 0.9}})
    assert screen.states == [{"name": "pump"}] * 2
    assert list(screen.results) == [result]
