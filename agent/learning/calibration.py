"""The agent's own rows to calibrate an int8 model with. They stay here; only their ranges go into the file."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.config import AgentConfig
from agent.ingestion.buffer import FILE
from agent.ingestion.chunks import Seal
from agent.ingestion.database import read_spread
from agent.sources.replay import ReplaySource
from agent.sources.section import LIVE, REPLAY
from learnae.errors import ConfigurationError, DataError
from learnae.models.dataset import one_line_each
from learnae.ports import Samples
from learnae.samples.windows import Windower
from learnae.swarm.features import Features
from learnae.swarm.manifest import Manifest
from learnae.system.credentials import read_secret

_log = logging.getLogger(__name__)

MAX_ROWS = 500  # more move the ranges no further: the field's guides speak of some hundred
_PLACES = 50  # of a buffer: what a machine did yesterday counts as much as what it does now


def calibration_rows(
    config: AgentConfig, manifest: Manifest, directory: Path, limit: int = MAX_ROWS
) -> NDArray[np.float32]:
    """Return at most ``limit`` finite rows (n, *input), evenly out of all that the agent trains on, labelled or not.

    There are none for a swarm without features, or where nothing can be read yet.
    """
    features = manifest.features
    if features is None:
        return np.zeros((0, *manifest.model.input_shape), np.float32)
    rows = [np.zeros((0, *features.shape), np.float32)]
    windowers: dict[str, Windower] = {}
    for name, samples in _samples(config, features, directory, limit):
        windows = windowers.setdefault(name, Windower(features)).push(samples)
        found = features.extract(windows.values[~windows.holdout])
        rows.append(found[np.isfinite(one_line_each(found)).all(axis=1)])
    together = np.concatenate(rows)
    return together[np.linspace(0, len(together) - 1, min(limit, len(together))).astype(int)]


def _samples(config: AgentConfig, features: Features, directory: Path, limit: int) -> Iterator[tuple[str, Samples]]:
    """Yield what recordings and the buffer hold, by source, in order."""
    try:
        sections = config.all_sources()
    except ConfigurationError as error:
        _log.warning("not calibrated: %s", error)
        return
    for name, section in sections.items():
        if section.kind == REPLAY:
            try:
                samples = ReplaySource(
                    Path(section.file), features, 0.0, section.holdout, columns=section.columns
                ).read()
            except DataError as error:
                _log.warning("not calibrated with source %s: %s", name, error)
                continue
            if samples is not None:
                yield name, samples
    live = sum(section.kind in LIVE for section in sections.values())
    if live and (directory / FILE).exists():
        seal = Seal(read_secret(config.buffer.key, "buffer.key")) if config.buffer.key else None
        readings = live * (features.span + features.hop * limit // _PLACES)
        yield from read_spread(directory / FILE, len(features.channels), seal, _PLACES, readings)
