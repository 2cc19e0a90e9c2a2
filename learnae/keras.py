"""``learnae.keras.Swarm``: a callback with which ``model.fit`` trains as a member of a swarm."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import keras

from learnae.api.joining import join
from learnae.api.shared_peer import SharedPeer
from learnae.basics.overriding import override

_NAMES = {  # of Keras' logs of held-out rows, by what members know them as
    "loss": ("val_loss",),
    "accuracy": ("val_accuracy", "val_acc", "val_sparse_categorical_accuracy", "val_binary_accuracy"),
    "mae": ("val_mae", "val_mean_absolute_error"),
    "r2": ("val_r2_score",),
}


class Swarm(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Shares the model after each epoch, or each ``every`` batches, and goes on from what was merged.

    ``samples`` is how many rows ``fit`` trains on. All else is ``join``'s: the ``swarm``, ``name`` and so on. With
    ``validation_data``, members see what it gave. The peer is ``self.peer`` while ``fit`` runs, and leaves after it.

    The model is the swarm's, built from its definition or alike: ``model.get_weights()`` fits it. Shapes are checked,
    activations and order are not.
    """

    def __init__(
        self, swarm: str | os.PathLike[str] = "", *, samples: int | None = None, every: int = 0, **options: Any
    ) -> None:
        super().__init__()
        self.peer: SharedPeer | None = None
        self._swarm = swarm
        self._samples = samples
        self._every = every
        self._options = options
        self._measures = options.get("data") is not None or options.get("loss") is not None
        self._steps = 0

    @override
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.on_train_end()  # of a fit that was broken off
        self.peer = join(self._swarm, **self._options)
        try:
            self.model.set_weights(self.peer.weights(like=self.model.get_weights()))
        except BaseException:
            self.on_train_end()
            raise

    @override
    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._steps += 1
        if self._every and self._steps >= self._every:
            self._share({})

    @override
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._steps:
            self._share(logs or {})

    @override
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self.peer is not None:
            self.peer.close()
            self.peer = None

    def _share(self, logs: Mapping[str, Any]) -> None:
        assert self.peer is not None
        weights = self.peer.share(
            self.model.get_weights(), self._samples, self._metrics(logs), steps=self._steps, wait=False
        )
        self._steps = 0
        self.model.set_weights(weights)

    def _metrics(self, logs: Mapping[str, Any]) -> dict[str, object] | None:
        """Return what members know of Keras' logs; None without a loss of held-out rows, or where the peer measures."""
        found = {name: float(logs[key]) for name, keys in _NAMES.items() for key in keys if key in logs}
        found = {name: value for name, value in found.items() if math.isfinite(value)}
        return None if self._measures or "loss" not in found else dict(found)
