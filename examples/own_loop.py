"""Two programs with training loops of their own, in plain NumPy: each has rows of one class alone, and learns both."""

import sys
from typing import Any

import numpy as np

import learnae

ROWS, STEPS = 300, 15


def rows_of(label: int, seed: int) -> tuple[Any, Any]:
    """Draw points around (1, 1) or (-1, -1), by their class."""
    rows = np.random.default_rng(seed).normal((2 * label - 1), 0.7, size=(ROWS, 2))
    return rows, np.full(ROWS, label)


def gradient(weights: dict[str, Any], rows: Any, classes: Any) -> dict[str, Any]:
    """Return that of logistic regression, mean of all rows."""
    error = 1 / (1 + np.exp(-(rows @ weights["kernel"] + weights["bias"]))) - classes
    return {"kernel": rows.T @ error / len(rows), "bias": error.mean(keepdims=True)}


def train(peer: learnae.SharedPeer, label: int) -> None:
    """Train on rows of one class; what the others have learnt comes with each share."""
    rows, classes = rows_of(label, seed=label)
    weights = peer.weights()
    for _ in range(5):
        slope = gradient(weights, rows, classes)
        weights = {name: array - 0.5 * slope[name] for name, array in weights.items()}
    peer.share(weights, samples=ROWS)


def main() -> None:
    """Print how many rows of both classes the estimate tells right."""
    start = {"kernel": np.zeros(2), "bias": np.zeros(1)}
    swarm = sys.argv[1] if len(sys.argv) > 1 else learnae.create_swarm("two-classes", parameters=start)
    settings = {"publish.every": 0.05}
    with (
        learnae.join(swarm, name="ann", settings=settings) as ann,
        learnae.join(swarm, name="ben", settings=settings) as ben,
    ):
        for _ in range(STEPS):
            train(ann, label=0)
            train(ben, label=1)
        found = ben.estimate()
    right = [
        ((rows @ found["kernel"] + found["bias"] > 0) == label) for label in (0, 1) for rows in [rows_of(label, 9)[0]]
    ]
    print(f"right: {np.mean(right):.0%}")


if __name__ == "__main__":
    main()
