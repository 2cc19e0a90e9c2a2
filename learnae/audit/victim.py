"""A member that trains and publishes as a peer does, without a network: what its followers have after each update."""

from collections.abc import Callable, Iterator

from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Learner
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.frames import encode_frame

_BASE = Cid.of(DAG_CBOR, b"an update")


def published(
    manifest: Manifest,
    learner: Learner,
    start: Vector,
    received: Callable[[int], Vector | None] = lambda _: None,
    steps: int = 0,
) -> Iterator[Vector]:
    """Yield ``start`` (count,), then for ever what followers have after each update of ``learner``.

    Before update ``number``, from 0 on, it goes on from what it has ``received``, if any, as after a merge in which
    others have all the votes. An update takes ``steps`` optimiser steps, 0 for as many as the manifest says.
    """
    learner.load(start)
    yield start
    replica, number = None, 0
    while True:
        if (given := received(number)) is not None:
            learner.load(given)
        learner.train(steps or manifest.training.steps)
        base = None if number % manifest.codec.every == 0 else _BASE
        replica = encode_frame(learner.weights(), replica, base, manifest.codec).replica
        yield replica
        number += 1
