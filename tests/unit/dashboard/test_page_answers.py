"""How the model errs, as the page shows it: counted on held-out rows, now and then, whatever the model says."""

import numpy as np
import pytest
from builders import tiny_manifest

from learnae.dashboard.answers import Answers
from learnae.dashboard.lineage import Lineage
from learnae.models.dataset import Dataset, Rows
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def classifier(outputs: int) -> Manifest:
    """The identity: what a row says most of is its class."""
    softmax, loss = (
        ("softmax", "sparse_categorical_crossentropy") if outputs > 1 else ("sigmoid", "binary_crossentropy")
    )
    config = dense_config(2, (), outputs, softmax)
    return tiny_manifest(config=config, loss=loss, classes=("no", "yes"))


def held_out(manifest: Manifest, rows: list[list[float]], targets: list[float]) -> Rows:
    data = Dataset(manifest.model, manifest.objective)
    kind = int if manifest.loss.startswith("sparse") else np.float32
    array = np.array(targets, kind)
    data.holdout.append(np.array(rows, np.float32), array if kind is int else array.reshape(-1, 1))
    return data.holdout


ROWS = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
IS = [0, 0, 1, 1, 1]


@pytest.mark.parametrize(("outputs", "weights"), [(2, [1, 0, 0, 1, 0, 0]), (1, [-9, 9, 0])], ids=["softmax", "sigmoid"])
def test_confusions_are_counted_by_class(outputs: int, weights: list[float]) -> None:
    manifest = classifier(outputs)
    found = Answers(manifest, held_out(manifest, ROWS, IS)).of(np.array(weights, np.float32))
    assert found == {
        "rows": 5, "of": 5, "classes": ["no", "yes"], "counts": [2, 3], "recall": [1.0, 2 / 3],
        "pairs": [[2, 0], [1, 2]],
    }  # fmt: skip


def test_errors_of_values_are_told_by_their_sizes() -> None:
    manifest = tiny_manifest()
    rows = held_out(manifest, [[0.0, 0.0]] * 4, [0.0, 1.0, 2.0, 3.0])
    found = Answers(manifest, rows).of(np.zeros(3, np.float32))
    assert found is not None
    assert found["errors"][0] == [0.5, 1.5]


def test_a_model_that_has_diverged_has_answers_too() -> None:
    manifest = classifier(2)
    found = Answers(manifest, held_out(manifest, ROWS, IS)).of(np.full(6, np.nan, np.float32))
    assert found is not None
    assert sum(map(sum, found["pairs"])) == 5


def test_it_is_looked_at_now_and_then_and_never_without_rows() -> None:
    manifest, clock = classifier(2), Clock()
    answers = Answers(manifest, held_out(manifest, ROWS, IS), clock)
    first = answers.of(np.array([1, 0, 0, 1, 0, 0], np.float32))
    other = np.array([0, 1, 1, 0, 0, 0], np.float32)
    assert answers.of(other) is first
    clock.now = 60.0
    assert answers.of(other) != first
    assert Answers(manifest, None).of(other) is None
    assert Answers(manifest, held_out(manifest, [], [])).of(other) is None


def test_nothing_is_drawn_of_what_was_not_heard() -> None:
    assert list(Lineage().drawn(0)) == []
