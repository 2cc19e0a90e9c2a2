"""Which engine trains here."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.models.keras_model import INSTALL

log = logging.getLogger("learnae")

_DRIVER = Path("/proc/driver/nvidia/version")  # is there where the driver of NVIDIA's GPUs is

AUTO, JAX, NUMPY = ENGINES = ("auto", "jax", "numpy")


def choose_engine(wanted: str, precision: str) -> str:
    """JAX or NUMPY: what is ``wanted``, one of ENGINES, and installed. Nothing is imported.

    Raises ConfigurationError if what the configuration asks for needs an engine that is not here.
    """
    if wanted == NUMPY:
        return NUMPY
    absent = [name for name in ("keras", "jax") if importlib.util.find_spec(name) is None]
    if not absent:
        return JAX
    if wanted == JAX or precision != "float32":
        raise ConfigurationError(f"{' and '.join(absent)} not installed", f"{INSTALL}, or train with the NumPy engine")
    log.info("training with NumPy; for a GPU and for faster epochs: %s", INSTALL)
    return NUMPY


def warn_of_an_unseen_gpu(device: str) -> None:
    """JAX as pip installs it knows no GPU: say so where there is one and ``device`` is not it."""
    if device == "cpu" and _DRIVER.exists():
        log.warning("there is an NVIDIA GPU here, but JAX sees none and trains on the CPU: pip install 'jax[cuda12]'")
