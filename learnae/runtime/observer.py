"""The observer: sees a swarm on this machine as its peers do, without being one."""

import math
import random
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from learnae import text
from learnae.adapters.local.bans import Bans
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.gossip import LocalGossip
from learnae.basics.error_log import ErrorLog
from learnae.basics.peer_names import harmless, told_apart
from learnae.errors import BlockMissingError, ConfigurationError, MaskError, PeerError
from learnae.membership.gate import Gate
from learnae.membership.sealing import NO_SECRETS, Seals
from learnae.models.keras_model import moments_in
from learnae.peer.following import Following
from learnae.peer.members.records_here import open_gate
from learnae.peer.replication import Replicator
from learnae.peer.state import PeerState
from learnae.peer.swarm_view import profile_of
from learnae.privacy.spent import PrivacySpent
from learnae.protocol.bodies import KEY, Contributions, Evidence, Join, Profile, Summary, Update
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message, open_message
from learnae.protocol.sum_bodies import SumBody
from learnae.protocol.tangle import Node, Tangle
from learnae.runtime.version_store import read_version
from learnae.samples.dp_statistics import layout_of
from learnae.swarm.directory import open_manifest
from learnae.swarm.manifest import Manifest
from learnae.system.paths import STATE_FILE
from learnae.weights.codecs import Vector
from learnae.weights.frames import decode_frame
from learnae.weights.merge import NO_MOMENTS, consensus

if TYPE_CHECKING:
    from learnae.peer.masking.heard import Sum
    from learnae.runtime.keys_here import SecretsHere

_ALL_PEERS = _ALL_NAMES = 1 << 20
_PASSES = 1000  # of at most some thousand messages each
_UNNAMED = Profile("", "?", "?")


@dataclass(frozen=True, slots=True)
class PeerView:
    """Shows what a peer has published of itself; times in Unix milliseconds, accuracy and loss on its own rows.

    ``name`` is what it calls itself, ``shown`` what people see: told apart from all others (``peer_names``).
    ``summary`` is True for a peer that sends summaries of its rows and no updates: ``samples`` is then noisy.
    ``epsilon`` is spent at ``delta``; None without differential privacy, and with it ``samples`` says nothing.
    """

    peer: str
    name: str
    shown: str
    role: str
    version: str
    seq: int
    steps: int
    samples: int
    summary: bool
    loss: float | None
    accuracy: float | None
    mae: float | None
    r2: float | None
    epsilon: float | None
    delta: float | None
    heard: int
    bytes_out: int
    bytes_in: int
    banned: bool


class Estimate(NamedTuple):
    """A consensus estimate (count,), and when the newest update that it is made of was published: Unix ms."""

    vector: Vector
    time: int

    def age(self) -> str:
        """Return how old it is, for people."""
        return text.ago(time.time() - self.time / 1000)


class Observer:
    """Reads a swarm's directory; writes nothing. Of a sealed one it sees what the keys of this home open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = open_manifest(directory)
        self.swarm = self.manifest.swarm
        # deletes nothing: what is too old for a newcomer may be all that a peer of this machine has left
        self._store = LocalBlockStore(directory, read_only=True)
        self._clock = SystemClock()
        rng = random.Random()
        errors, self.tangle = ErrorLog(), Tangle(self.manifest.limits, rng)
        gossip, self.gate = LocalGossip(directory, None), open_gate(self.manifest, self._store, errors)
        self._here = _secrets_here(directory, self.gate)
        self._seals = Seals(self.manifest.is_sealed, self._here or NO_SECRETS)
        self._replication = Replicator(
            self.swarm, self.tangle, self._store, gossip, self._clock, errors, gate=self.gate, seals=self._seals,
            at_once=math.inf, looks=_ALL_NAMES,  # what is here is to be seen at once
        )  # fmt: skip
        count, half_life = self.manifest.model.count, self.manifest.merge.half_life
        self._following = Following(
            self.tangle, self._store, errors, rng, b"", count, _ALL_PEERS, half_life, seals=self._seals,
            fits=lambda author: author not in self._banned,
        )  # fmt: skip
        self._banned: Collection[bytes] = ()
        self._profiles: dict[bytes, Profile] = {}
        self._summaries: dict[bytes, Message] = {}

    def refresh(self) -> int:
        """Take in new messages; return how many are known now."""
        unseen = self.unseen()
        for _ in range(_PASSES):
            outcome, before = self._replication.hear(), unseen
            for message in outcome.attached:
                self._following.note(message)
                self._profiles[message.author] = profile_of(message) or self._profiles.get(message.author, _UNNAMED)
                known = self._summaries.get(message.author)
                if isinstance(message.body, Summary) and (known is None or message.seq > known.seq):
                    self._summaries[message.author] = message
            unseen = self.unseen()
            if not outcome.attached and unseen == before:  # a long chain comes newest first, and waits
                break
        return len(self.tangle)

    @property
    def is_blind(self) -> bool:
        """Return True if the swarm is sealed and no key of this home opens what is said in it."""
        return self._here is not None and self._here.is_empty

    def close(self) -> None:
        """Let go of the blocks' file; it is opened again when it is needed again."""
        self._store.close()

    @property
    def sees_all(self) -> bool:
        """Return False if the peers here know more authors than one announcement names."""
        return self._replication.most_named < self.manifest.limits.entries

    def name(self, messages: Iterable[Message]) -> None:
        """Take messages for announced, and take in what they continue, as far as it is here."""
        for message in messages:
            self._replication.name(message)
        self.refresh()

    def unseen(self) -> int:
        """Count the messages of this machine that wait for others, or for a secret: what they need is not known."""
        return sum(1 for _ in self.tangle.waiting()) + self._replication.unread()

    def peers(self) -> list[PeerView]:
        """Show all peers that have published, by name."""
        authors = {peer_name(author): author for author in self.tangle.authors()}
        shown = told_apart({peer: self._profiles.get(author, _UNNAMED).name for peer, author in authors.items()})
        views = [self._view(author, shown[peer]) for peer, author in authors.items()]
        return sorted(views, key=lambda view: (view.shown, view.peer))

    def publishers(self) -> dict[str, bytes]:
        """Return the authors of whom an update is here, by name; keys that have published no weights are none."""
        return {peer_name(author): author for author in self._following.news}

    def summaries(self) -> dict[str, Summary]:
        """Return the last summary of each peer that has one, by the peer's key."""
        found = self._summaries.items()
        return {peer_name(author): said.body for author, said in found if isinstance(said.body, Summary)}

    def messages(self, count: int) -> Iterator[Message]:
        """Open the newest ``count`` messages, newest first."""
        nodes = filter(None, map(self.tangle.node, self.tangle.cids()))
        for node in sorted(nodes, key=lambda node: node.time, reverse=True)[:count]:
            with suppress(BlockMissingError, PeerError):  # a peer has deleted it since; damage is for --fsck to say
                message = open_message(self._store.get(node.cid), self.swarm, self.manifest.limits)
                yield self._seals.opened(message, self.manifest.limits)

    def totals(self) -> "list[Sum]":
        """Return the masked sums whose totals can be seen from what is here, oldest first."""
        from learnae.peer.masking.heard import Heard  # noqa: PLC0415 - ciphers, for which other swarms have no use

        layout = layout_of(self.manifest)
        if layout is None:
            return []
        heard = Heard(self.swarm, layout.groups * layout.size)
        for message in sorted(self.messages(len(self.tangle)), key=lambda message: message.time):
            if isinstance(message.body, SumBody):
                with suppress(MaskError):
                    heard.note(message.author, message.seq, message.body, message.time)
        return [known for known in heard.sums.values() if known.is_open]

    def estimate(self) -> Estimate:
        """Compute the consensus estimate of all peers that published last and are not banned on this machine.

        Raises ConfigurationError without any.
        """
        now, self._banned = self._clock.now(), Bans(self.directory).read()
        self._following.advance(now)
        votes = list(self._following.replicas.values())
        if not votes:
            raise ConfigurationError("no peer has published weights here", "start a peer first")
        manifest = self.manifest
        moments = manifest.definition.moments if not manifest.only_keras else NO_MOMENTS
        if manifest.only_keras and not manifest.is_own_loop:
            moments = moments_in(manifest.config)
        newest = max(vote.time for vote in votes)
        return Estimate(consensus(votes, manifest.merge.half_life, now, moments, manifest.merge.rule), newest)

    def replicas_of(self, author: bytes) -> list[Vector]:
        """Decode what an author's followers have after each of its updates, oldest first, since the last gap."""
        found: list[Vector] = []
        step, chain = self.tangle.newest_of(author), list[Node]()
        while step is not None and (node := self.tangle.node(step)) is not None:
            chain += [node] if node.frame is not None else []
            step = self.tangle.previous_of(step)
        for node in reversed(chain):
            assert node.frame is not None
            is_key = node.frame.kind == KEY
            if not is_key and not found:
                continue
            parts = enumerate(node.blocks)
            try:
                blocks = [
                    self._seals.opened_block(author, node.seq, index, self._store.get(cid)) for index, cid in parts
                ]
                found.append(decode_frame(node.frame, blocks, None if is_key else found[-1], self.manifest.model.count))
            except (BlockMissingError, PeerError):
                found.clear()
        return found

    def spent(self) -> list[PrivacySpent | None]:
        """Return what the newest update of each peer says of differential privacy; None where it says nothing."""
        return [news.update.privacy for news in self._following.news.values()]

    def _view(self, author: bytes, shown: str) -> PeerView:
        profile, news = self._profiles.get(author, _UNNAMED), self._following.news.get(author)
        newest = self.tangle.newest_of(author)
        node = self.tangle.node(newest) if newest else None
        update = news.update if news else None
        said = self._summaries.get(author)
        is_alone = said is not None and said.checkpoint and not (news and news.time > said.time)
        summary = said.body if said and is_alone and isinstance(said.body, Summary) else None
        metrics = update.metrics if update else None
        return PeerView(
            peer=peer_name(author),
            name=profile.name,
            shown=shown,
            role=profile.role,
            version=harmless(profile.software),
            seq=node.seq if node else 0,
            steps=update.steps if update else 0,
            samples=summary.rows if summary else update.samples if update else 0,
            summary=summary is not None,
            loss=metrics.loss if metrics else None,
            accuracy=metrics.accuracy if metrics else None,
            mae=metrics.mae if metrics else None,
            r2=metrics.r2 if metrics else None,
            epsilon=update.privacy.epsilon if update and update.privacy else None,
            delta=update.privacy.delta if update and update.privacy else None,
            heard=node.time if node else 0,
            bytes_out=update.bytes_out if update else 0,
            bytes_in=update.bytes_in if update else 0,
            banned=self.tangle.is_banned(author),
        )


def _secrets_here(directory: Path, gate: Gate) -> "SecretsHere | None":
    if gate.ledger is None:
        return None
    from learnae.runtime.keys_here import SecretsHere, keys_here  # noqa: PLC0415 - memory that open swarms need not

    return SecretsHere(keys_here(directory), gate.ledger)


def describe(message: Message) -> dict[str, Any]:
    """Return a message as a plain map, for people and JSON."""
    body = message.body
    what: dict[str, Any] = {"kind": type(body).__name__.lower()}
    if isinstance(body, SumBody):
        what = {"kind": body.KIND}
    if isinstance(body, Update):
        what = {
            "kind": "update",
            "frame": f"{body.frame.kind} {body.frame.codec}",
            "steps": body.steps,
            "accuracy": body.metrics.accuracy if body.metrics else None,
            "privacy": body.privacy.to_fields() if body.privacy else None,
            "merged": [name.hex() for name in body.merged],
        }
    elif isinstance(body, Summary):
        what = {**body.to_fields(), "sums": body.sums.hex(), "rows": body.rows}
    elif isinstance(body, Join):
        what = {"kind": "join", "name": body.peer.name, "role": body.peer.role}
    elif isinstance(body, Contributions):
        percents = {name.hex(): percent for name, percent in body.by_peer.items()}
        what = {"kind": body.KIND, "usefulness": percents}
    elif isinstance(body, Evidence):
        what = {"kind": "evidence", "author": peer_name(body.author)}
    return {
        "cid": str(message.cid),
        "author": peer_name(message.author),
        "seq": message.seq,
        "time": message.time,
        "checkpoint": message.checkpoint,
        "parents": [str(parent) for parent in message.parents],
        "blocks": [str(block) for block in message.blocks],
        "body": what,
    }


def estimate_of(directory: Path, manifest: Manifest) -> Estimate:
    """Read the consensus estimate that the peer of ``directory`` saved last."""
    try:
        state = PeerState.read(directory / STATE_FILE)
    except OSError as error:
        raise ConfigurationError(f"no saved peer at {directory}: {error.strerror}", "run it first") from error
    if state.swarm != manifest.swarm:
        raise ConfigurationError(f"the peer at {directory} belongs to swarm {state.swarm}", "name that swarm")
    return Estimate(state.estimate, state.time)


def kept_estimate(directory: Path, manifest: Manifest, name: str) -> Estimate:
    """Read the estimate that the peer in ``directory`` keeps as version ``name``; raises as ``read_version`` does."""
    version = read_version(directory, name)
    if version.swarm != manifest.swarm:
        raise ConfigurationError(f"version {name} of {directory.name} is of swarm {version.swarm}", "name that swarm")
    return Estimate(version.vector, version.time)


def published_spent(swarm: Path) -> list[PrivacySpent | None]:
    """Return what the peers that publish in the directory ``swarm`` say of differential privacy (Observer.spent)."""
    observer = Observer(swarm)
    observer.refresh()
    return observer.spent()


def published_estimate(swarm: Path) -> Estimate:
    """Compute the consensus estimate of what is published in the directory ``swarm``."""
    observer = Observer(swarm)
    observer.refresh()
    return observer.estimate()
