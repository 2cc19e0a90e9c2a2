"""``learnae.Simulation``: a whole swarm in this process, in virtual time, on arrays that each peer has for itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from learnae.api.creating import defined
from learnae.api.loading import LoadedModel
from learnae.api.rows import dataset_of
from learnae.errors import ConfigurationError, DataError
from learnae.samples.dp_statistics import layout_of
from learnae.simulation.network import Weather
from learnae.simulation.simulator import Setting
from learnae.simulation.simulator import Simulation as Simulated
from learnae.swarm.directory import find_swarm
from learnae.swarm.model_card import card

_MOST_PEERS = 1000
_MOST_DELAY_MS = 600_000


class Simulation:
    """Peers that train in virtual time, each on its part of ``data``; all that happens follows from the ``seed``.

    ``data`` has one entry a peer, as ``join`` takes it. What they train is the model of a ``swarm`` that is here, of a
    ``preset``, or a Keras ``model`` with its ``loss``. ``delay`` are the least and the most milliseconds that a packet
    takes, ``lost`` is the share of packets that do not arrive. Peers are the product's own, with NumPy, and no floors.

    >>> import numpy as np
    >>> from learnae.swarm.presets import dense_config
    >>> rng = np.random.default_rng(0)
    >>> data = [(rows, rows[:, 0] > 0) for rows in rng.normal(size=(3, 200, 2))]
    >>> config = dense_config(2, (), 2, "softmax")
    >>> simulation = Simulation(data, model=config, loss="sparse_categorical_crossentropy")
    >>> simulation.run(20)
    >>> [status["peers"] for status in simulation.status()]
    [3, 3, 3]
    >>> simulation.model().predict([[5, 0], [-5, 0]]).argmax(axis=1).tolist()
    [1, 0]
    """

    def __init__(
        self,
        data: Sequence[Any],
        *,
        swarm: str | os.PathLike[str] = "",
        preset: str = "",
        model: Any = None,
        loss: str = "",
        rule: str = "",
        holdout: float = 0.3,
        seed: int = 0,
        delay: tuple[int, int] = (10, 100),
        lost: float = 0.0,
    ) -> None:
        """Raise DataError, ConfigurationError or ModelError for what cannot be."""
        if not 1 <= len(data) <= _MOST_PEERS:
            raise DataError(f"data of {len(data)} peers", f"give 1 to {_MOST_PEERS} parts")
        if not 0 <= lost < 1 or len(delay) != 2 or not 0 <= delay[0] <= delay[1] <= _MOST_DELAY_MS:
            raise ConfigurationError(f"lost is {lost}, delay {delay}", "give a share below 1, and (least, most) in ms")
        if swarm and rule:
            raise ConfigurationError("a rule beside a swarm", "leave it out: the swarm has one")
        if swarm:
            self.manifest = find_swarm(os.fspath(swarm)).manifest
        else:
            self.manifest = defined("simulated", None, model, preset, loss, rule)[0]
        self.manifest.check_known()
        datasets = [dataset_of(part, holdout, self.manifest) for part in data]
        has_summaries = layout_of(self.manifest) is not None
        setting = Setting(seed, weather=Weather(delay, lost), summaries=has_summaries)
        self._simulated = Simulated(self.manifest, datasets, setting)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._simulated.run(round(1000 * seconds))

    def partition(self, *groups: Sequence[int]) -> None:
        """Let only peers of one group, by their numbers from 0, reach each other; ``heal`` ends it."""
        self._simulated.partition(groups)

    def heal(self) -> None:
        """End every partition."""
        self._simulated.heal()

    def stop(self, peer: int) -> None:
        """Stop a peer as ``kill -9`` does."""
        self._simulated.crash(peer)

    def start(self, peer: int) -> None:
        """Start a stopped peer again, from its disk."""
        self._simulated.restart(peer)

    def status(self) -> list[dict[str, Any]]:
        """Return the status of each peer, as ``SharedPeer.status`` does."""
        return [member.peer.status() for member in self._simulated.members]

    def model(self, peer: int = 0) -> LoadedModel:
        """Return the model that a peer believes in: its consensus estimate."""
        estimate = self._simulated.members[peer].peer.estimate().copy()
        return LoadedModel(
            self.manifest.model, self.manifest.config, estimate, card(self.manifest), self._simulated.clock.time / 1000
        )
