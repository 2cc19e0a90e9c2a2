"""What the unit tests build their cases from: authors, tiny swarms, damaged bytes."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnae.errors import PeerError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.protocol.announcements import Entry
from learnae.protocol.bodies import Evidence, FrameHeader, Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, compose
from learnae.protocol.tangle import Outcome, Tangle
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

NOW = 1_700_000_000_000
SWARM = Cid.of(DAG_CBOR, b"swarm")
NOTE = {"kind": "note"}
COUNT = 3  # parameters of the smallest model in these tests


def identity(number: int) -> Identity:
    """Return always the same key for the same number."""
    return Identity.from_seed(random.Random(number).randbytes(32))


def some_cid(number: int) -> Cid:
    """Return the name of a block that no store has."""
    return Cid.of(DAG_CBOR, b"block %d" % number)


def some_entry(author: int, seq: int = 0) -> Entry:
    """Return what an announcement says of an author whose messages no store has."""
    return Entry(b"au%06d" % author, seq, some_cid(1000 * author + seq), some_cid(1000 * author))


def some_frame(number: int) -> Cid:
    """Return the name of a frame's block that no store has."""
    return Cid.of(RAW, b"frame %d" % number)


class Author:
    """Signs messages; continues its own chain unless told otherwise."""

    def __init__(self, number: int, swarm: Cid = SWARM) -> None:
        self.identity = identity(number)
        self.author = self.identity.author
        self.swarm = swarm
        self.last: Message | None = None
        self.forked = 0  # once declared, it is said again in all that follows

    def say(
        self,
        *tips: Message,
        time: int | None = None,
        body: Mapping[str, Any] = NOTE,
        blocks: tuple[Cid, ...] = (),
        previous: Message | None = None,
        seq: int | None = None,
        checkpoint: bool = False,
        forked: int = 0,
    ) -> Message:
        """Compose the next message, on ``previous`` (or the last one) and ``tips``."""
        self.forked = max(self.forked, forked)
        previous = previous or self.last
        parents = [*([previous] if previous else []), *tips]
        if time is None:
            time = max([NOW, *(parent.time + 1000 for parent in parents)])
        if seq is None:
            seq = previous.seq + 1 if previous else 0
        links = tuple(parent.cid for parent in parents)
        self.last = compose(
            self.identity, self.swarm, seq, links, time, body, blocks, checkpoint=checkpoint, forked=self.forked
        )
        return self.last

    def chain(self, length: int, start: int = NOW, step: int = 1000) -> list[Message]:
        """``length`` messages, ``step`` ms apart."""
        return [self.say(time=start + index * step) for index in range(length)]

    def fork(self, seq: int = 1) -> tuple[Message, Message]:
        """Say a first message if there is none, and two different ones with one ``seq`` after it."""
        root = self.last or self.say()
        return self.say(previous=root, seq=seq), self.say(previous=root, seq=seq, body={**NOTE, "again": True})

    def accuse(self, first: Message, second: Message, author: bytes = b"", **options: Any) -> Message:
        """Report that ``author``, or the first one's, has signed both."""
        evidence = Evidence(author or first.author, first.cid, second.cid)
        return self.say(body=evidence.to_fields(), **options)


def update_body(kind: str = "key", base: Cid | None = None, count: int = COUNT, **changes: Any) -> dict[str, Any]:
    """Return the body of an update, with an f32 frame."""
    header = FrameHeader(kind, "f32", count, base)
    body = Update(header, steps=1, samples=10, metrics=None, merged=(), bytes_out=0, bytes_in=0).to_fields()
    return {**body, **changes}


class Watch:
    """A clock that is moved by hand."""

    def __init__(self, now: float = 1.7e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def new_tangle(me: bytes = b"", **limits: int) -> Tangle:
    """Return an empty tangle with a seeded choice of hints."""
    return Tangle(Limits(**limits), random.Random(0), me)


def offer(tangle: Tangle, *messages: Message, now: int = NOW + 3600_000) -> Outcome:
    """Attach one message after another; what is refused is in the outcome."""
    total = Outcome()
    for message in messages:
        try:
            outcome = tangle.attach(message, now)
        except PeerError as error:
            total.refused.append(error)  # type: ignore[arg-type]
            continue
        total.attached += outcome.attached
        total.equivocations += outcome.equivocations
        total.refused += outcome.refused
    return total


def random_dag(seed: int, authors: int, count: int) -> list[Message]:
    """Return a valid history: each message on its author's last one, and with up to two others' as hints."""
    rng = random.Random(seed)
    people = [Author(number) for number in range(authors)]
    said: list[Message] = []
    for _ in range(count):
        author = rng.choice(people)
        others = [message for message in said if message.author != author.author]
        said.append(author.say(*rng.sample(others, min(len(others), rng.randint(0, 2)))))
    return said


def linear_config(inputs: int = 2) -> dict[str, Any]:
    """Return a model of ``inputs`` weights and one bias."""
    return dense_config(inputs, (), 1, "linear")


def tiny_manifest(**changes: Any) -> Manifest:
    """Linear regression with COUNT parameters."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "config": linear_config(),
        "loss": "mean_squared_error",
        "training": TrainingPolicy(steps=4, batch=8),
        "optimiser": OptimiserPolicy("sgd", learning_rate=0.05),
    }
    return Manifest(**{**settings, **changes})


def tiny_dataset(manifest: Manifest, seed: int = 0, rows: int = 32, scale: float = 1.0) -> Dataset:
    """Rows of y = x0 - 2 x1 + 1, the last quarter held out."""
    rng = np.random.default_rng(seed)
    data = Dataset(manifest.model, manifest.objective)
    inputs = rng.normal(size=(rows, 2))
    targets = scale * (inputs @ np.array([1.0, -2.0]) + 1.0)
    cut = rows * 3 // 4
    data.add(inputs[:cut], targets[:cut])
    data.add(inputs[cut:], targets[cut:], holdout=True)
    return data


def tiny_learner(
    manifest: Manifest | None = None,
    data: Dataset | None = None,
    seed: int = 0,
    kind: type[NumpyLearner] = NumpyLearner,
) -> NumpyLearner:
    """Return what trains as the manifest says."""
    manifest, rng = manifest or tiny_manifest(), np.random.default_rng(seed)
    data = data or tiny_dataset(manifest)
    return kind(manifest.model, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng)


def damaged(data: bytes) -> Iterator[bytes]:
    """Every truncation, every bit flip, and a few extensions."""
    yield from (data[:length] for length in range(len(data)))
    for index, bit in itertools.product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[index] ^= 1 << bit
        yield bytes(changed)
    yield from (data + tail for tail in (b"\x00", b"\xf6", b"\xff", data))


def escaped(read: Callable[[bytes], object], cases: Sequence[bytes], allowed: type[Exception]) -> set[str]:
    """Return the names of errors other than ``allowed`` that ``read`` let out."""
    names = set()
    for case in cases:
        try:
            read(case)
        except allowed:
            pass
        except Exception as error:  # noqa: BLE001 - that is the question
            names.add(type(error).__name__)
    return names


def write_parquet(path: Path, columns: Mapping[str, Any], **options: Any) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(dict(columns)), path, **options)
    return path
