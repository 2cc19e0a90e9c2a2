"""What it costs to bound each row's gradient: time of a step in each engine, accuracy of the demo's swarm."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.learning.tflite_learner import TfliteLearner
from bench.harness import AT_MOST, Race, in_processes
from demo.people import accuracy, make_exam
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from trainer_node.learning.jax_learner import JaxLearner

PRESETS = ("wrist", "wrist-cnn", "hepmass")
MOST_COST = 2.0  # times a step without
MOST_POINTS = 1.5  # of accuracy that clipping may cost
_ROWS, _STEPS = 1000, 5  # few at a time: others use the machine, too
_SECONDS = 180  # of virtual time

Make = Callable[[Manifest, Dataset, NormClip], Learner]


def run(race: Race) -> None:
    """Measure both."""
    presets, turns = (PRESETS[:1], 3) if race.quick else (PRESETS, 100)
    for name in presets:
        for engine, make in ENGINES.items():
            with race.step(f"steps of {engine}, {name}"):
                plain, clipped = step_times(preset(name, 1), make, turns)
            race.check(
                f"{engine}, {name}: a step that clips, against one that does not", clipped / plain, MOST_COST, AT_MOST,
                "times", f"{plain * 1e6:.0f} µs without",
            )  # fmt: skip
    seeds, seconds = (1, 20) if race.quick else (3, _SECONDS)
    tasks = [(is_on, seed, seconds) for is_on in (False, True) for seed in range(seeds)]
    found = in_processes(race, "swarms of eight people", judged, tasks)
    without, with_it = (np.mean([found[is_on, seed, seconds] for seed in range(seeds)]) for is_on in (False, True))
    race.figure("the demo's accuracy without clipping", 100 * float(without), "%")
    race.figure("the demo's accuracy with clipping", 100 * float(with_it), "%")
    lost, note = 100 * float(without - with_it), f"mean of {seeds} seeds, {seconds} s of virtual time"
    race.check("accuracy that clipping costs", lost, MOST_POINTS, AT_MOST, "points", note)


def step_times(manifest: Manifest, make: Make, turns: int) -> tuple[float, float]:
    """Return the least seconds of a step without clipping, and with, measured in turn."""
    model, rng = manifest.definition, np.random.default_rng(0)
    data = Dataset(model, manifest.objective)
    rows = rng.normal(size=(_ROWS, *model.input_shape)).astype(np.float32)
    data.add(rows, rows.reshape(_ROWS, -1)[:, : manifest.class_count].argmax(axis=1))
    learners = [make(manifest, data, NormClip(is_on=is_on)) for is_on in (False, True)]
    least = [np.inf, np.inf]
    for learner in learners:
        learner.load(model.initial(1))
        learner.train(_STEPS)
    for _ in range(turns):
        for index, learner in enumerate(learners):
            begun = time.perf_counter()
            learner.train(_STEPS)
            least[index] = min(least[index], (time.perf_counter() - begun) / _STEPS)
    return least[0], least[1]


def judged(is_on: bool, seed: int, seconds: int) -> float:
    """Return the accuracy of what eight people's peers agree on."""
    manifest = preset("wrist", 1)
    exam = make_exam(manifest)

    def learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        return NumpyLearner(*_arguments(manifest, data), rng, clip=NormClip(is_on=is_on))

    simulation = Simulation(manifest, exam.people, Setting(seed=seed), learner)
    simulation.run(seconds * 1000)
    return accuracy(manifest, simulation.members[0].peer.estimate(), exam)


def _arguments(manifest: Manifest, data: Dataset) -> tuple[Any, Any, Any, Any, Any]:
    return manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch


def _numpy(manifest: Manifest, data: Dataset, clip: NormClip) -> Learner:
    return NumpyLearner(*_arguments(manifest, data), np.random.default_rng(0), clip=clip)


def _tflite(manifest: Manifest, data: Dataset, clip: NormClip) -> Learner:
    return TfliteLearner(*_arguments(manifest, data), np.random.default_rng(0), clip=clip)


def _jax(manifest: Manifest, data: Dataset, clip: NormClip) -> Learner:
    return JaxLearner.for_manifest(manifest, data, np.random.default_rng(0), clip=clip)


ENGINES: dict[str, Make] = {"NumPy": _numpy, "TFLite": _tflite, "JAX": _jax}
