"""What a judgement costs a core."""

from __future__ import annotations

import time

import numpy as np

from bench.harness import AT_MOST, Race
from learnae.models.reference.numpy_model import predict
from learnae.peer.learning.jury import POINTS, CappedLoss
from learnae.swarm.presets import preset
from learnae.weights.judging import Judge
from learnae.weights.merge import Vote

_MOST_MS = {8: 2.0, 64: 10.0}  # by the number of replicas, all of them new
_SPREAD = 0.02  # of the replicas' weights


def run(race: Race) -> None:
    """Judge eight and 64 replicas of 4,295 weights, all of them new, and one: the shortest of some calls."""
    for count, bar in _MOST_MS.items():
        all_new, one_new = measure(count, 3 if race.quick else 40)
        race.check(f"a judgement of {count} replicas, all new", all_new, bar, AT_MOST, "ms")
        race.figure(f"a judgement of {count} replicas, one new", one_new, "ms")


def measure(count: int, calls: int) -> tuple[float, float]:
    """Return milliseconds of a judgement of ``count`` replicas: with all of them new, and with one."""
    manifest, rng = preset("wrist", 1), np.random.default_rng(1)
    model, start = manifest.definition, manifest.definition.initial(1)
    rows = rng.normal(size=(POINTS, *model.input_shape)).astype(np.float32)
    targets = predict(model, start, rows).argmax(axis=1)

    def vote() -> Vote:
        return Vote(start + rng.normal(0, _SPREAD, len(start)).astype(np.float32), 100, 0, False)

    own, others = vote(), {bytes([number]): vote() for number in range(count)}
    loss = CappedLoss(model, rows, targets, manifest.class_count)
    judge = Judge(loss, losses_of=loss.of_each)

    def judged() -> float:
        begun = time.perf_counter()
        judge.judge(own, others, manifest.merge.half_life, 0)
        return 1e3 * (time.perf_counter() - begun)

    took: list[list[float]] = [[], []]
    for _ in range(calls):
        judge.forget_losses()
        took[0].append(judged())
        others[bytes([0])] = vote()
        took[1].append(judged())
    return min(took[0]), min(took[1])
