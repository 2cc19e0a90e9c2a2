"""Which engine trains here."""

import logging
from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.models.keras_model import absent_of_keras
from learnae.system.installation import how_to_install

_log = logging.getLogger(__name__)

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # exists where the driver of NVIDIA's GPUs is loaded

AUTO, JAX, NUMPY = ENGINES = ("auto", "jax", "numpy")


def choose_engine(wanted: str, precision: str) -> str:
    """Return JAX or NUMPY: what is ``wanted``, one of ENGINES, and installed. Import nothing.

    Raises ConfigurationError if what the configuration asks for needs an engine that is not installed.
    """
    if wanted == NUMPY:
        return NUMPY
    if not (absent := absent_of_keras()):
        return JAX
    remedy = how_to_install("trainer")
    if wanted == JAX or precision != "float32":
        raise ConfigurationError(f"{' and '.join(absent)} not installed", f"{remedy}, or train with the NumPy engine")
    _log.info("training with NumPy; for a GPU and for faster epochs: %s", remedy)
    return NUMPY


def warn_of_an_unseen_gpu(device: str, driver: Path = NVIDIA_DRIVER) -> None:
    """Log a warning if ``device`` is a CPU where ``driver`` exists: JAX as pip installs it cannot use a GPU."""
    if device == "cpu" and driver.exists():
        _log.warning("there is an NVIDIA GPU here, but JAX sees none and trains on the CPU: pip install 'jax[cuda12]'")
