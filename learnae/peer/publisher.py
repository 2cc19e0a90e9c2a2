"""Publishing: compose a message, save the state that goes with it, show it. Always in this order.

A crash between any two of these leaves either nothing or a message that is shown at the next start.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from learnae.basics.error_log import ErrorLog
from learnae.errors import FrameError, NotWrittenError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.learning.merging import Merging
from learnae.peer.learning.training import Training
from learnae.peer.own_chain import OwnChain
from learnae.peer.state import PeerState
from learnae.peer.swarm_view import SwarmView
from learnae.ports import Clock, StateStore, Traffic
from learnae.privacy.spent import PRIVATE_SAMPLES, PrivacySpent
from learnae.protocol.bodies import KEY, Contributions, Evidence, Join, Profile, Sealed, Summary, Unknown, Update
from learnae.protocol.messages import Message
from learnae.protocol.sum_bodies import SumBody
from learnae.weights.codecs import Vector
from learnae.weights.frames import Frame

if TYPE_CHECKING:
    from learnae.peer.masking.sums import MaskedSums

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Publisher:
    """Publishes what the parts of a peer have made, and saves and restores these parts.

    ``privacy`` gives what is spent, None without differential privacy: with it, updates say nothing of rows.
    ``unwritable`` says since when (Unix milliseconds) and why nothing can be saved; None while the disk takes data.
    """

    swarm: Cid
    is_sealed: bool
    state: StateStore
    clock: Clock
    own: OwnChain
    frames: FrameEncoder
    merging: Merging
    training: Training
    view: SwarmView
    errors: ErrorLog
    traffic: Traffic
    profile: Profile
    privacy: Callable[[], PrivacySpent | None]
    sums: "MaskedSums | None" = None  # where summaries are masked
    unwritable: dict[str, Any] | None = None

    def introduce(self) -> Cid:
        """Publish the own profile as a checkpoint; raises NotWrittenError."""
        return self._commit(self.own.compose(Join(self.profile).to_fields(), checkpoint=True))

    def accuse(self, evidence: Evidence) -> Cid:
        """Publish evidence, which all keep; raises NotWrittenError."""
        return self._commit(self.own.compose(evidence.to_fields(), checkpoint=False))

    def say(self, body: SumBody | Contributions) -> Cid:
        """Publish what replaces nothing, such as a part of a masked sum, with where this peer stands then.

        Raises NotWrittenError.
        """
        return self._commit(self.own.compose(body.to_fields(), checkpoint=False))

    def summarise(self, summary: Summary, *, checkpoint: bool) -> Cid:
        """Publish a summary; a ``checkpoint`` replaces what came before it, also the own updates.

        Raises NotWrittenError.
        """
        if checkpoint:
            self.frames.give_up()
            summary = replace(summary, peer=self.profile)
        return self._commit(self.own.compose(summary.to_fields(), checkpoint=checkpoint))

    def publish_update(
        self, samples: int, *, whole: bool = False, settled: bool = False, again: bool = False
    ) -> Cid | None:
        """Publish the weights, trained on ``samples``, as the next frame; None if nothing could be published.

        That is where the weights have diverged or the clock is behind. A ``whole`` one is a checkpoint in any case; one
        of a peer that has ``settled`` is its last for a while. ``again``: what others hold of this peer is published
        once more, in place of the weights as they are. Raises NotWrittenError; the frame is given up.
        """
        if not self.own.may_speak():
            return None
        now, spent = self.clock.now(), self.privacy()
        samples = PRIVATE_SAMPLES if spent else samples
        try:
            frame = self.frames.encode(self._weights(again), samples, now, whole or self.own.needs_checkpoint)
        except FrameError as error:
            self.errors.count(error)
            self.merging.start_over(now)
            return None
        self.merging.believe(self.frames.own_vote, now)
        self.training.evaluate(self.merging.estimate)
        try:
            return self._publish_frame(frame, samples, settled, spent)
        except NotWrittenError:
            self.frames.give_up()
            raise

    def fail(self, error: NotWrittenError) -> None:
        """Note that the disk took nothing; the next message that is published ends this."""
        self.errors.count(error)
        since = self.unwritable["since"] if self.unwritable else self.clock.now()
        self.unwritable = {"since": since, "error": str(error)}

    def save(self, message: Message) -> None:
        """Save all parts together with the own last ``message``; raises NotWrittenError."""
        state = PeerState(
            swarm=self.swarm,
            message=message.data,
            body=self._plain(message),
            bytes_out=self.traffic.bytes_out,
            bytes_in=self.traffic.bytes_in,
            sums=self.sums.standing.to_bytes() if self.sums else b"",
            **self.frames.to_state(),
            **self.merging.to_state(),
            **self.training.to_state(),
        )
        self.state.save(*state.to_pieces())

    def restore(self) -> bool:
        """Go on from the saved state; return False if there is none. Raises StateError."""
        data = self.state.load()
        if data is None:
            return False
        state = PeerState.from_bytes(data)
        if state.swarm != self.swarm:
            raise StateError(f"the saved state belongs to swarm {state.swarm}", "give this peer another name")
        self.training.restore(state)
        self.frames.restore(state)
        self.merging.restore(state)
        if self.sums:
            self.sums.restore(state.sums, self.clock.now())
        outcome = self.own.resume(state.message, state.body)
        last = self.own.last
        if last and isinstance(last.body, Update) and last.body.settled and last.cid == state.update:
            self.frames.settle()
        self.traffic.bytes_out, self.traffic.bytes_in = state.bytes_out, state.bytes_in  # what is shown again is old
        self.view.note(outcome)
        return True

    def _weights(self, again: bool) -> Vector:
        """Return the own weights (count,), or ``again`` what others hold of them."""
        held = self.frames.own_vote
        return held.vector if again and held else self.training.learner.weights()

    def _publish_frame(self, frame: Frame, samples: int, settled: bool, spent: PrivacySpent | None) -> Cid:
        merged, checkpoint = self.merging.unsaid, frame.header.kind == KEY
        blocks = self.own.put_frame(frame.blocks, checkpoint=checkpoint)
        body = Update(
            frame=frame.header,
            steps=spent.releases if spent else self.training.steps,
            samples=samples,
            metrics=None if spent else self.training.metrics,
            merged=() if spent else merged,
            bytes_out=self.traffic.bytes_out,
            bytes_in=self.traffic.bytes_in,
            settled=settled,
            peer=self.profile if checkpoint else None,
            privacy=spent,
        )
        message = self.own.compose(body.to_fields(), blocks, checkpoint=checkpoint)
        self.frames.published(message, frame, settled)
        published = self._commit(message)
        self.merging.said(len(merged))
        return published

    def _plain(self, message: Message) -> bytes:
        """Return what a sealed message says, as dag-cbor: its key epoch may be forgotten. Empty if it is open."""
        if not self.is_sealed or isinstance(message.body, (Sealed, Unknown)):
            return b""
        return dagcbor.encode(message.body.to_fields())

    def _commit(self, message: Message) -> Cid:
        self.save(message)
        self.view.note(self.own.show(message))
        self.unwritable = None
        _log.debug("published %s: seq %d, %d blocks", message.cid, message.seq, len(message.blocks))
        return message.cid
