"""Ready-made swarms: ``learnae swarm create --preset NAME``."""

from collections.abc import Callable, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from learnae.errors import ManifestError
from learnae.models.optimisers import OptimiserPolicy
from learnae.swarm.features import STATISTICS, RawWindow, WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import JUDGED, MergePolicy

# With eight bits a keyframe is as small as a delta: frequent ones let peers redraw whom they follow for nothing.
_FRAMES = FramePolicy("q8", "q4", every=8)
MOTION = ("ax", "ay", "az", "wx", "wy", "wz")
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")


def demo_data() -> Traversable:
    """Return the shipped recordings of eight people (see the notice beside them)."""
    return resources.files("learnae") / "data" / "shoulder-imu.npz"


def dense_config(inputs: int, hidden: Sequence[int], outputs: int, final: str) -> dict[str, Any]:
    """Return the Keras configuration of a plain multi-layer perceptron with ReLU."""
    widths = [*((units, "relu") for units in hidden), (outputs, final)]
    dense = [("Dense", {"units": units, "activation": name, "use_bias": True}) for units, name in widths]
    kinds = [("InputLayer", {"batch_shape": [None, inputs]}), *dense]
    layers = [{"module": "keras.layers", "class_name": kind, "config": config} for kind, config in kinds]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "model", "layers": layers}}


def _wrist(created: int) -> Manifest:
    """Tell seven shoulder exercises apart: 50 Hz motion of a wrist, windows of 2 s, half overlapping.

    What is subtracted is the mean of each feature over two people who published their recordings, none of the demo's
    eight (adr 107). What is divided by are round figures for arm motion: accelerations in g move around +-0.5, turn
    rates in rad/s around +-1, and most change between two samples is far smaller than both.
    """
    # statistic: shifts of the three accelerations and of the three turn rates, then the scale of both
    constants = {
        "mean": ((0.0, 0.39, -0.18, 0.04, 0.0, 0.01), (0.5, 0.3)),
        "deviation": ((0.39, 0.22, 0.33, 0.75, 2.0, 0.79), (0.25, 0.8)),
        "minimum": ((-0.62, -0.07, -0.79, -1.7, -3.2, -1.4), (0.7, 2.0)),
        "maximum": ((0.62, 0.81, 0.45, 1.8, 3.3, 1.5), (0.7, 2.0)),
        "change": ((0.04, 0.05, 0.05, 0.24, 0.15, 0.09), (0.03, 0.12)),
    }
    rows = [constants[statistic] for statistic in STATISTICS]
    return Manifest(
        name="wrist",
        config=dense_config(30, (64, 32), len(EXERCISES), "softmax"),
        loss="sparse_categorical_crossentropy",
        created=created,
        classes=EXERCISES,
        features=WindowStatistics(
            channels=MOTION,
            rate=50.0,
            window=100,
            hop=50,
            shift=tuple(shift for shifts, _ in rows for shift in shifts),
            scale=tuple(scale for _, scales in rows for scale in scales for _ in range(3)),
        ),
        codec=_FRAMES,
        merge=MergePolicy(rule=JUDGED),
        optimiser=OptimiserPolicy("momentum", learning_rate=0.03),
    )


def convolution_config(
    shape: Sequence[int], blocks: Sequence[tuple[int, int, int]], outputs: int, final: str
) -> dict[str, Any]:
    """Return the Keras configuration of a small network over time.

    ``shape`` (length, channels); each block is (filters, size, stride) of a convolution with ReLU; the mean
    over time goes to the outputs.
    """
    layers: list[dict[str, Any]] = [{"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}}]
    for filters, size, stride in blocks:
        options = {"filters": filters, "kernel_size": [size], "strides": [stride], "padding": "same"}
        layers.append({"class_name": "Conv1D", "config": {**options, "activation": "relu", "use_bias": True}})
    layers.append({"class_name": "GlobalAveragePooling1D", "config": {}})
    layers.append({"class_name": "Dense", "config": {"units": outputs, "activation": final, "use_bias": True}})
    return {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}


def _wrist_cnn(created: int) -> Manifest:
    """Tell the exercises of ``wrist`` apart from raw windows: the network finds its own features.

    The constants are round figures for arm motion: accelerations in g and turn rates in rad/s. A filter sees
    0.18 s and then 0.5 s: shorter ones were 1 point worse, a third layer was no better (adr 15).
    """
    features = RawWindow(MOTION, 50.0, 100, 50, (0.0,) * 6, (0.5,) * 3 + (1.0,) * 3)
    return Manifest(
        name="wrist-cnn",
        config=convolution_config(features.shape, ((16, 9, 2), (32, 9, 2)), len(EXERCISES), "softmax"),
        loss="sparse_categorical_crossentropy",
        created=created,
        classes=EXERCISES,
        features=features,
        codec=_FRAMES,
        optimiser=OptimiserPolicy("momentum", learning_rate=0.06),  # adr 15
    )


def _hepmass(created: int) -> Manifest:
    """Tell signal from background in particle collisions: 27 features (Baldi et al. 2016, UCI HEPMASS)."""
    return Manifest(
        name="hepmass",
        config=dense_config(27, (64, 64), 1, "sigmoid"),
        loss="binary_crossentropy",
        created=created,
        classes=("background", "signal"),
        codec=_FRAMES,
        merge=MergePolicy(rule=JUDGED),
        optimiser=OptimiserPolicy("momentum", learning_rate=0.05),
    )


def _thermal(created: int) -> Manifest:
    """Learn how warm a board is, without labels: a minute unlike any before stands out.

    1 Hz, windows of 60 s every 10 s. Every Raspberry Pi has the sensor. Boards are at 50 °C, more or less,
    and change slowly.
    """
    # shift and scale of mean, deviation, minimum, maximum, change
    constants = ((50.0, 15.0), (1.0, 1.0), (49.0, 15.0), (52.0, 15.0), (0.3, 0.3))
    shift, scale = zip(*constants, strict=True)
    return Manifest(
        name="thermal",
        config=dense_config(5, (8, 2, 8), 5, "linear"),
        loss="mean_squared_error",
        created=created,
        features=WindowStatistics(("temperature",), 1.0, 60, 10, shift, scale),
        optimiser=OptimiserPolicy("adam", learning_rate=0.003),
    )


PRESETS: dict[str, Callable[[int], Manifest]] = {
    "wrist": _wrist,
    "hepmass": _hepmass,
    "wrist-cnn": _wrist_cnn,
    "thermal": _thermal,
}


def preset(name: str, created: int) -> Manifest:
    """Return the manifest ``name`` for a swarm created at that time (Unix milliseconds); raises ManifestError."""
    if name not in PRESETS:
        raise ManifestError(f"no preset {name!r}", f"there are {', '.join(PRESETS)}")
    return PRESETS[name](created)
