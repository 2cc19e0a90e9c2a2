"""A member with a training loop of its own among stock trainers, in plain NumPy, Keras or PyTorch.

python beside_trainers.py numpy|keras|torch SWARM TABLE.csv [ROUNDS]: the model is dense layers, ReLU and at the end
softmax, and the trainers have published; the table's last column is the class, 0, 1, 2 …
"""

import sys
from typing import Any

import numpy as np

import learnae

BATCHES, BATCH, RATE = 30, 32, 0.05  # of one round
SETTINGS = {"publish.every": 0.5}


def numpy_loop(swarm: str, rows: Any, classes: Any, rounds: int) -> None:
    """Train by gradients written out; weights are a list of arrays, kernel and bias of each layer."""
    rng, answers = np.random.default_rng(0), np.eye(1 + classes.max())
    with learnae.join(swarm, name="loop-numpy", settings=SETTINGS) as peer:
        weights = peer.weights()
        for _ in range(rounds):
            for _ in range(BATCHES):
                chosen = rng.integers(len(rows), size=BATCH)
                inputs = [rows[chosen]]
                for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                    inputs.append(np.maximum(inputs[-1] @ kernel + bias, 0))
                scores = inputs[-1] @ weights[-2] + weights[-1]
                likely = np.exp(scores - scores.max(axis=1, keepdims=True))
                error = likely / likely.sum(axis=1, keepdims=True)
                error[:, : answers.shape[1]] -= answers[classes[chosen]]
                for layer in reversed(range(len(inputs))):
                    slope, kernel = inputs[layer].T @ error / BATCH, weights[2 * layer]
                    weights[2 * layer + 1] = weights[2 * layer + 1] - RATE * error.mean(axis=0)
                    weights[2 * layer] = kernel - RATE * slope
                    error = error @ kernel.T * (inputs[layer] > 0)
            weights = peer.share(weights, samples=BATCHES * BATCH, steps=BATCHES)


def keras_loop(swarm: str, rows: Any, classes: Any, rounds: int) -> None:
    """Let ``fit`` train a model alike; a callback shares it."""
    import keras  # noqa: PLC0415 - what this loop alone needs

    shapes = learnae.load(swarm).weights()
    layers = [keras.layers.Dense(len(bias), activation="relu") for bias in shapes[1:-2:2]]
    layers = [keras.Input((len(shapes[0]),)), *layers, keras.layers.Dense(len(shapes[-1]), activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy")
    callback = learnae.keras.Swarm(swarm, name="loop-keras", samples=len(rows), settings=SETTINGS)
    model.fit(rows, classes, batch_size=BATCH, epochs=rounds, verbose=0, callbacks=[callback])


def torch_loop(swarm: str, rows: Any, classes: Any, rounds: int) -> None:
    """Train a module whose ``state_dict`` has the names of the swarm's model: layer.0.kernel, layer.0.bias …"""
    import torch  # noqa: PLC0415 - as above

    class Dense(torch.nn.Module):  # type: ignore[misc]  # PyTorch need not be here
        """As Keras has it: the kernel is (inputs, outputs), where torch.nn.Linear's weight is (outputs, inputs)."""

        def __init__(self, kernel: Any, bias: Any) -> None:
            super().__init__()
            self.kernel = torch.nn.Parameter(torch.tensor(kernel))
            self.bias = torch.nn.Parameter(torch.tensor(bias))

        def forward(self, rows: Any) -> Any:
            return rows @ self.kernel + self.bias

    def model_of(weights: Any) -> Any:
        layers = [Dense(weights[0], weights[1])]
        for kernel, bias in zip(weights[2::2], weights[3::2], strict=True):
            layers += [torch.nn.ReLU(), Dense(kernel, bias)]  # an activation counts as a layer, there as here
        return torch.nn.ModuleDict({"layer": torch.nn.Sequential(*layers)})

    inputs, targets = torch.tensor(rows, dtype=torch.float32), torch.tensor(classes)
    with learnae.join(swarm, name="loop-torch", settings=SETTINGS) as peer:
        model = model_of(peer.weights())
        optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
        for _ in range(rounds):
            for _ in range(BATCHES):
                chosen = torch.randint(len(inputs), (BATCH,))
                loss = torch.nn.functional.cross_entropy(model["layer"](inputs[chosen]), targets[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            model.load_state_dict(peer.share(model.state_dict(), samples=BATCHES * BATCH, steps=BATCHES))


LOOPS = {"numpy": numpy_loop, "keras": keras_loop, "torch": torch_loop}


def main() -> None:
    """Read the table, and train for so many rounds, or until this program is ended."""
    framework, swarm, table, *rounds = sys.argv[1:]
    numbers = np.loadtxt(table, delimiter=",", skiprows=1)
    LOOPS[framework](swarm, numbers[:, :-1], numbers[:, -1].astype(int), int(rounds[0]) if rounds else 1_000_000)


if __name__ == "__main__":
    main()
