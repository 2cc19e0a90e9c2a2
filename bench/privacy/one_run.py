"""How much a private learner tells for certain: an audit in one run of training (Steinke et al., arXiv 2305.08846).

Of many canaries each takes part with a chance of a half. Whoever sees all releases guesses of those that stand out most
that they were there, and of those that do least that they were not. So many right guesses are unlikely at less epsilon.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.harness import AT_LEAST, AT_MOST, Race
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.private.private_learner import PrivateLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.noise.gaussian import Normals, normals_of
from learnae.privacy.policy import TrainingPrivacy
from learnae.swarm.presets import dense_config

_CONFIDENCE = 0.95
_GUESSED = (
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
)  # of the canaries, at both ends; the best of them is taken, at a fifth of the risk
_LENGTH = 1000.0  # of a canary: its gradient is clipped all the time
_OFF = 10.0  # times too little noise, in the run that must be found out


def run(race: Race) -> None:
    """Audit runs at epsilon 4, with noise as it should be and with a tenth of it."""
    canaries = 200 if race.quick else 4000
    claim = TrainingPrivacy(4.0)
    note = f"{canaries} canaries, one run of 80 releases, {_CONFIDENCE:.0%} certain"
    for partitions in (1, 4):
        with race.step(f"an audit in one run, {partitions} partitions"):
            right, wrong = (lower_bound(claim, canaries, 1, share, partitions) for share in (1.0, 1 / _OFF))
        of = f"epsilon 4, {partitions} partitions"
        race.check(f"{of}: least that is certain", right, claim.epsilon, AT_MOST, "", note)
        race.check(f"{of}: with a tenth of the noise", wrong, claim.epsilon / _OFF, AT_LEAST, "", note)


def lower_bound(claim: TrainingPrivacy, canaries: int, seed: int, share: float = 1.0, partitions: int = 1) -> float:
    """Return the epsilon that a run certainly has, with a ``share`` of the noise that ``claim`` demands."""
    claim, rng = replace(claim, partitions=partitions), np.random.default_rng(seed)
    taken = rng.random(canaries) < 0.5
    model = ModelDefinition.from_config(dense_config(canaries, (), 2, "softmax"))
    loss = Loss.for_model("sparse_categorical_crossentropy", model)
    data = Dataset(model, loss)
    chosen = np.flatnonzero(taken)
    rows = np.zeros((len(chosen), canaries), np.float32)
    rows[np.arange(len(chosen)), chosen] = _LENGTH
    data.add(rows, np.zeros(len(chosen), np.int64))
    inner = NumpyLearner(model, loss, OptimiserPolicy(), data, 32, rng)
    slow = OptimiserPolicy("sgd", learning_rate=1e-5)  # so that canaries stay as wrong as they are
    learner = PrivateLearner(inner, data, claim, slow, normals=scaled(seeded(seed), share))
    while learner.train(claim.releases * partitions).steps:
        pass
    column = model.split(learner.weights())[0][0]
    standing_out = column[:, 0] - column[:, 1]
    return max(
        epsilon_of_guesses(standing_out, taken, int(part * canaries), claim.delta, (1 - _CONFIDENCE) / len(_GUESSED))
        for part in _GUESSED
    )


def seeded(seed: int) -> Normals:
    """Return noise that is the same each time."""
    keys = np.random.default_rng(seed)
    return lambda count: normals_of(keys.bytes(32), count)


def scaled(normals: Normals, share: float) -> Normals:
    """Return a ``share`` of what ``normals`` gives."""
    return lambda count: share * normals(count)


def epsilon_of_guesses(
    scores: NDArray[np.float32], taken: NDArray[np.bool_], each: int, delta: float, risk: float
) -> float:
    """Return the greatest epsilon that is refuted with ``risk`` by guessing ``each`` canaries in and as many out."""
    order = np.argsort(scores)
    right = int(taken[order[-each:]].sum() + (~taken[order[:each]]).sum())
    return _most(lambda epsilon: chance(len(taken), 2 * each, right, epsilon, delta) < risk)


def chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return a bound on the chance of so many ``right`` guesses at (``epsilon``, ``delta``) (their theorem 5.2)."""
    truth = 1 / (1 + math.exp(-epsilon))
    logs = [
        math.lgamma(guesses + 1) - math.lgamma(n + 1) - math.lgamma(guesses - n + 1)
        + n * math.log(truth) + (guesses - n) * math.log1p(-truth)
        for n in range(guesses + 1)
    ]  # fmt: skip
    exactly = np.exp(logs)
    beta = float(exactly[right:].sum())
    below = np.cumsum(exactly[:right][::-1])  # of 1, 2, ... fewer
    alpha = float((below / np.arange(1, right + 1)).max()) if right else 0.0
    return min(1.0, beta + 2 * alpha * delta * canaries)


def _most(is_refuted: Callable[[float], bool]) -> float:
    low, high = 0.0, 20.0
    if not is_refuted(low):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low
