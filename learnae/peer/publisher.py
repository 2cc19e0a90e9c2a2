"""Publishing: compose a message, save the state that goes with it, show it. Always in this order.

A crash between any two of these leaves either nothing or a message that is shown at the next start.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learnae.error_log import ErrorLog
from learnae.errors import FrameError, NotWrittenError, StateError
from learnae.ipld.cid import RAW, Cid
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.merging import Merging
from learnae.peer.own_chain import OwnChain
from learnae.peer.state import PeerState
from learnae.peer.swarm_view import SwarmView
from learnae.peer.training import Training
from learnae.ports import BlockStore, Clock, StateStore, Traffic
from learnae.protocol.bodies import Update
from learnae.protocol.messages import Message
from learnae.weights.frames import Frame

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Publisher:
    """Publishes what the parts of a peer have made, and saves and restores these parts.

    ``unwritable`` says since when (Unix milliseconds) and why nothing can be saved; None while the disk takes data.
    """

    swarm: Cid
    store: BlockStore
    state: StateStore
    clock: Clock
    own: OwnChain
    frames: FrameEncoder
    merging: Merging
    training: Training
    view: SwarmView
    errors: ErrorLog
    traffic: Traffic
    unwritable: dict[str, Any] | None = None

    def publish(self, body: Mapping[str, Any]) -> Cid:
        """Publish a message without blocks; raises NotWrittenError."""
        return self._commit(self.own.compose(body))

    def publish_update(self, samples: int) -> Cid | None:
        """Publish the weights, trained on ``samples``, as the next frame; None if nothing could be published.

        That is where the weights have diverged or the clock is behind. Raises NotWrittenError; the frame is given up.
        """
        if not self.own.may_speak():
            return None
        now = self.clock.now()
        try:
            frame = self.frames.encode(self.training.learner.weights(), samples, now)
        except FrameError as error:
            self.errors.count(error)
            self.merging.start_over()
            return None
        self.merging.believe(self.frames.own_vote, now)
        self.training.evaluate(self.merging.estimate)
        try:
            return self._publish_frame(frame, samples)
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
            bytes_out=self.traffic.bytes_out,
            bytes_in=self.traffic.bytes_in,
            **self.frames.to_state(),
            **self.merging.to_state(),
            **self.training.to_state(),
        )
        self.state.save(state.to_bytes())

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
        outcome = self.own.resume(state.message)
        self.traffic.bytes_out, self.traffic.bytes_in = state.bytes_out, state.bytes_in  # what is shown again is old
        self.view.note(outcome)
        return True

    def _publish_frame(self, frame: Frame, samples: int) -> Cid:
        blocks = tuple(self.store.put(RAW, block) for block in frame.blocks)
        merged = self.merging.unsaid
        body = Update(
            frame=frame.header,
            steps=self.training.steps,
            samples=samples,
            metrics=self.training.metrics,
            merged=merged,
            bytes_out=self.traffic.bytes_out,
            bytes_in=self.traffic.bytes_in,
        )
        message = self.own.compose(body.to_fields(), blocks)
        self.frames.published(message)
        published = self._commit(message)
        self.merging.said(len(merged))
        return published

    def _commit(self, message: Message) -> Cid:
        self.save(message)
        self.view.note(self.own.show(message))
        self.unwritable = None
        _log.debug("published %s: seq %d, %d blocks", message.cid.short, message.seq, len(message.blocks))
        return message.cid
