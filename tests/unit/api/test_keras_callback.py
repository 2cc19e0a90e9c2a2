"""``model.fit`` as a member: Keras itself, on JAX, beside a peer of another program."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import learnae

pytestmark = [pytest.mark.modules("keras", "jax"), pytest.mark.slow]

FREE = {"publish.every": 0.01, "privacy.merge_first": False, "privacy.clip": False}


@pytest.fixture
def keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return pytest.importorskip("keras")


def half_plane(side: int) -> tuple[Any, Any]:
    """Rows of one half of the plane, in which the class follows from both values."""
    rng = np.random.default_rng(side % 7)
    rows = rng.normal(size=(300, 2)).astype(np.float32)
    rows[:, 0] = side * np.abs(rows[:, 0])
    return rows, (rows[:, 0] + rows[:, 1] > 0).astype(np.int64)


def test_fit_learns_with_others_what_its_own_rows_do_not_tell(keras: Any) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    swarm = learnae.create_swarm("plane", model=model, loss="sparse_categorical_crossentropy", membership="open")
    rows, classes = half_plane(-1)
    with learnae.join(swarm, name="numpy", settings=FREE) as other:
        other.share([np.array([[-1.0, 1], [-1, 1]]), np.zeros(2)], 300)
        callback = learnae.keras.Swarm(swarm, name="fit", samples=300, settings=FREE)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(rows, classes, epochs=3, verbose=0, validation_data=half_plane(1), callbacks=[callback])
        assert callback.peer is None
        assert callback._metrics({"val_loss": float("nan"), "val_accuracy": 0.5}) is None
        merged = other.weights()
        assert not np.allclose(merged[0], [[-1, 1], [-1, 1]]), "what fit has shared is in it"
    kept = [kept for kept in _kept() if kept["name"] == "fit"]
    assert [(kept[0]["role"], kept[0]["steps"], kept[0]["accuracy"])] == [("trainer", 30, pytest.approx(0.9, abs=0.1))]
    model.fit(rows, classes, epochs=1, verbose=0, callbacks=[learnae.keras.Swarm(swarm, name="fit", samples=300)])


def _kept() -> list[dict[str, Any]]:
    from learnae.system.paths import last_status, peers_here

    return [last_status(path) for path in peers_here()]


def test_load_reads_what_keras_saves_and_predicts_alike(keras: Any, tmp_path: Path) -> None:
    rows = half_plane(1)[0][:7]
    for layers in ([], [keras.layers.Reshape((3, 1)), keras.layers.GRU(4)]):  # the second only Keras can build
        inside = [keras.Input((2,)), keras.layers.Dense(3, activation="tanh"), *layers]
        model = keras.Sequential([*inside, keras.layers.Dense(2, activation="softmax")])
        model.save(tmp_path / "m.keras")
        loaded = learnae.load(tmp_path / "m.keras")
        assert loaded.predict(rows) == pytest.approx(model.predict(rows, verbose=0), abs=1e-5)
        assert loaded.predict(rows[:0]).shape == (0, 2)
        assert loaded.card == {}
