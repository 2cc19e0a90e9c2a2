"""Try what is installed: each kind in a process of its own, as an extension module that does not fit may end it.

Such a process (``python -m MODULE PART ...``) prints one line of JSON for each part, in order: ``[part, error]``.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

import learnae.errors

_SECONDS = 120.0  # for one process; JAX on a small machine begins in ten
_LINE = 300  # characters of an error
_IMPORTED = {  # what of a distribution is imported
    "cryptography": "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cbor2": "cbor2",
    "typer": "typer",
    "safetensors": "safetensors.numpy",
    "paho-mqtt": "paho.mqtt.client",
    "pyserial": "serial",
    "segno": "segno",
    "spake2": "spake2",
    "zeroconf": "zeroconf",
    "ipfshttpclient": "learnae.adapters.ipfs.rpc",
}
_TRAINER, _AGENT = "trainer_node.learning.trial", "agent.learning.trial"
_TRIED_BY = {"keras": _TRAINER, "jax": _TRAINER, "tflite-runtime": _AGENT, "ai-edge-litert": _AGENT}


def try_parts(names: Iterable[str]) -> dict[str, str]:
    """Return why each of these installed distributions does not work, empty where it does."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(_TRIED_BY.get(name, __name__), []).append(name)
    running = {module: _start(module, parts) for module, parts in kinds.items()}
    return {name: error for module, parts in kinds.items() for name, error in _said(running[module], parts).items()}


def tell(trials: Mapping[str, Callable[[], object]]) -> None:
    """Print what becomes of each trial, in the process that ``try_parts`` starts."""
    for part, trial in trials.items():
        try:
            trial()
            error = ""
        except Exception as failure:  # noqa: BLE001 - whatever an import or a step of a library that does not fit raises
            text = failure.problem if isinstance(failure, learnae.errors.LearnaeError) else str(failure)
            error = " ".join(text.split())[:_LINE] or type(failure).__name__
        print(json.dumps([part, error]), flush=True)


def _start(module: str, parts: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *parts],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _said(process: subprocess.Popen[str], parts: Sequence[str]) -> dict[str, str]:
    try:
        out, err = process.communicate(timeout=_SECONDS)
        end = f"its trial ended with {process.returncode}: {(err.strip().splitlines() or [''])[-1][:_LINE]}"
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        end = f"its trial did not end in {_SECONDS:g} s"
    found = dict(json.loads(line) for line in out.splitlines() if line.startswith("["))
    return {part: str(found.get(part, end)) for part in parts}


def _compute() -> None:
    import numpy as np  # noqa: PLC0415 - in the process of the trial alone

    solved = np.linalg.solve(2 * np.eye(2), np.ones(2))
    assert np.allclose(solved, 0.5), f"{solved} for a half"


def _import_pyota() -> None:
    from learnae.adapters.iota.pyota import load  # noqa: PLC0415 - as above

    load()


def _trial(part: str) -> Callable[[], object]:
    special = {"numpy": _compute, "pyota": _import_pyota}
    return special.get(part) or (lambda: importlib.import_module(_IMPORTED[part]))


if __name__ == "__main__":
    tell({part: _trial(part) for part in sys.argv[1:]})
