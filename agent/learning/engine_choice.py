"""What trains on this board, and whether anything does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from agent.config import AUTO, NONE, NUMPY, TFLITE, ResourcesSection
from agent.learning.collector import SummaryMode
from agent.learning.resources import Board
from agent.learning.threshold import Predict
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.layers import Conv1D
from learnae.models.passive_learner import PassiveLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.runtime.costs import check_room, why_no_step
from learnae.swarm.manifest import Manifest
from learnae.system.installation import how_to_install

if TYPE_CHECKING:
    from agent.learning.tflite_learner import TfliteLearner

_log = logging.getLogger(__name__)


def why_no_training(manifest: Manifest, engine: str, resources: ResourcesSection, board: Board) -> str:
    """Return why this agent sends summaries and does not train; empty if nothing keeps it from training.

    Raises ConfigurationError if the board has no memory for a member.
    """
    memory = board.memory()
    check_room(manifest, memory)
    if engine == NONE:
        return 'train.engine is "none"'
    return manifest.only_keras or why_no_step(manifest, memory, resources.memory)


def build_learner(
    manifest: Manifest,
    dataset: Dataset,
    rng: np.random.Generator,
    engine: str = AUTO,
    clip: bool = False,
    is_private: bool = False,
) -> NumpyLearner | TfliteLearner:
    """Make a TFLite learner where a runtime is installed that can train the swarm's model, else a NumPy one.

    With ``clip`` it bounds each row's gradient, where rows have their own. Where updates are differentially private
    (``is_private``) auto takes NumPy, unless there are convolutions: no slower, and 8 MB smaller. Raises
    ConfigurationError if the configured ``engine`` cannot train the model.
    """
    arguments = (
        manifest.definition, manifest.objective, manifest.optimiser, dataset, manifest.training.batch, rng,
        NormClip(is_on=clip),
    )  # fmt: skip
    is_dense = not any(isinstance(layer, Conv1D) for layer in manifest.definition.layers)
    if engine == NUMPY or (engine == AUTO and is_private and is_dense):
        return NumpyLearner(*arguments)
    try:
        from agent.learning.tflite_learner import TfliteLearner  # noqa: PLC0415 - an extra, and a heavy one

        return TfliteLearner(*arguments)
    except ImportError as error:
        reason = f"{error.name or error} is not installed; {how_to_install('agent')}"
    except ConfigurationError as error:
        reason = str(error)
    if engine == TFLITE:
        raise ConfigurationError(f"cannot train with TFLite: {reason}", "set train.engine to numpy or auto")
    _log.info("training with NumPy: %s", reason)
    return NumpyLearner(*arguments)


def engine_of(learner: Learner) -> str:
    """Name what trains here, as in the configuration."""
    if isinstance(learner, PassiveLearner):
        return NONE
    return NUMPY if isinstance(learner, NumpyLearner) else TFLITE


def choose_learner(
    summary_mode: SummaryMode,
    manifest: Manifest,
    dataset: Dataset,
    engine: str,
    clip: bool = False,
    is_private: bool = False,
) -> tuple[Learner, Predict | None]:
    """Return the learner, and what computes the model: without training, too, unless only Keras can."""
    if summary_mode.reason:
        if manifest.only_keras:
            return PassiveLearner(manifest.model.count), None
        passive = PassiveLearner(manifest.model.count, manifest.definition.moments)
        return passive, lambda weights, rows: predict(manifest.definition, weights, rows)
    learner = build_learner(manifest, dataset, np.random.default_rng(), engine, clip, is_private)
    return learner, learner.predict
