"""Write what the installed Keras makes of a few models to ``keras-VERSION.json`` beside this file, by name.

Each version needs an environment of its own:

    uv run --no-project --python 3.11 --with tensorflow-cpu==2.15.1 python tests/golden/keras_files.py
    uv run --no-project --python 3.11 --with keras==3.0.5 --with jax==0.4.29 --with jaxlib==0.4.29 \\
        --with packaging python tests/golden/keras_files.py
    uv run --no-project --python 3.11 --with keras==3.4.1 --with 'jax<0.4.35' --with 'jaxlib<0.4.35' \\
        python tests/golden/keras_files.py
    uv run --no-project --python 3.11 --with keras==3.10.0 --with jax python tests/golden/keras_files.py
"""

import json
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# what swarms make of each: its weights, and whether agents can train it
EXPECTED = {
    "plain": (83, True),
    "windows": (59, True),
    "mixed": (83, True),
    "joined": (35, False),
    "words": (77, False),
}


def files() -> dict[str, Any]:
    """Return the configurations that are kept, by version and model."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("keras-*.json"))}


def models(keras: Any) -> dict[str, Any]:
    """Build one model a form: Sequential, Functional as a chain, with a policy, a branch, a recurrent layer."""
    layers = keras.layers

    def plain() -> Any:
        first = keras.Input((4,))
        inner = layers.LayerNormalization()(layers.Dense(8, activation="relu")(first))
        return keras.Model(first, layers.Dense(3, activation="softmax")(inner))

    first = keras.Input((4,))
    joined = layers.Add()([layers.Dense(4, activation="relu")(first), first])
    found = {
        "plain": plain(),
        "windows": keras.Sequential([
            layers.Conv1D(4, 3, activation="relu", input_shape=(16, 2)), layers.BatchNormalization(),
            layers.MaxPooling1D(2), layers.GlobalAveragePooling1D(), layers.Dropout(0.1),
            layers.Dense(3, activation="softmax"),
        ]),
        "joined": keras.Model(first, layers.Dense(3, activation="softmax")(joined)),
        "words": keras.Sequential([
            keras.Input((6,)), layers.Embedding(5, 2), layers.GRU(3, recurrent_regularizer="l2"),
            layers.Dense(1, activation="sigmoid"),
        ]),
    }  # fmt: skip
    keras.mixed_precision.set_global_policy("mixed_float16")
    return {**found, "mixed": plain()}


def main() -> None:
    """Write the file of the installed version."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    configurations = {name: json.loads(model.to_json()) for name, model in models(keras).items()}
    (HERE / f"keras-{keras.__version__}.json").write_text(json.dumps(configurations, indent=None) + "\n")


if __name__ == "__main__":
    main()
