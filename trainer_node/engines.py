"""Which engine trains here."""

from __future__ import annotations

import importlib.util
import logging

from learnae.errors import ConfigurationError
from learnae.models.keras_model import INSTALL

log = logging.getLogger("learnae")

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
