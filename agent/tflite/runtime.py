"""The TFLite runtime that is installed: tflite-runtime, or its successor ai-edge-litert."""

import importlib
from typing import Any

import numpy as np

from learnae.errors import ConfigurationError
from learnae.system.installation import how_to_install, is_installed

_OLD, _NEW = "tflite_runtime.interpreter", "ai_edge_litert.interpreter"


def open_program(data: bytes) -> Any:
    """Open an interpreter of ``data`` in the first runtime that takes it; raises ConfigurationError.

    One thread: an agent leaves the other cores to what the board is for, and steps are too short to share.
    """
    errors = []
    runtimes = [_OLD, _NEW]
    if not np.__version__.startswith("1.") and is_installed("tflite_runtime"):
        runtimes.remove(_OLD)  # its import would print a page of warning and traceback
        errors.append(f"tflite_runtime does not work with NumPy {np.__version__}")
    for name in runtimes:
        try:
            interpreter = importlib.import_module(name).Interpreter(model_content=data, num_threads=1)
        except ModuleNotFoundError:
            continue
        # built for another NumPy it raises AttributeError or SystemError, an operator not known ValueError
        except (ImportError, AttributeError, RuntimeError, SystemError, ValueError) as error:
            errors.append(f"{name.partition('.')[0]}: {str(error) or type(error).__name__}")
            continue
        _remember_signatures(interpreter)
        return interpreter
    raise ConfigurationError("; ".join(errors) or "no TFLite runtime is installed", how_to_install("agent"))


def _remember_signatures(interpreter: Any) -> None:
    """Ask for the signatures once: tflite-runtime 2.14 does at every call of a signature, and loses 3 kB each time."""
    if hasattr(interpreter, "_get_full_signature_list"):
        signatures = interpreter._get_full_signature_list()
        interpreter._get_full_signature_list = lambda: signatures
