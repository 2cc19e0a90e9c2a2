"""Publishing: compose a message, save the state that goes with it, show it. Always in this order.

A crash between any two of these leaves either nothing or a message that is shown at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
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


class Publisher:
    """Publishes what the parts of a peer have made, and saves and restores these parts.

    ``unwritable`` says since when (Unix milliseconds) and why nothing can be saved; None while the disk takes data.
    """

    def __init__(
        self,
        swarm: Cid,
        store: BlockStore,
        state: StateStore,
        clock: Clock,
        own: OwnChain,
        frames: FrameEncoder,
        merging: Merging,
        training: Training,
        view: SwarmView,
        errors: ErrorLog,
        traffic: Traffic,
    ) -> None:
        self.unwritable: dict[str, Any] | None = None
        self._swarm = swarm
        self._store = store
        self._state = state
        self._clock = clock
        self._own = own
        self._frames = frames
        self._merging = merging
        self._training = training
        self._view = view
        self._errors = errors
        self._traffic = traffic

    def publish(self, body: Mapping[str, Any]) -> Cid:
        """Publish a message without blocks; raises NotWrittenError."""
        return self._commit(self._own.compose(body))

    def publish_update(self, samples: int) -> Cid | None:
        """Publish the weights, trained on ``samples``, as the next frame; None if they have diverged.

        Raises NotWrittenError; the frame is then given up.
        """
        now = self._clock.now()
        try:
            frame = self._frames.encode(self._training.weights(), samples, now)
        except FrameError as error:
            self._errors.count(error)
            self._merging.start_over()
            return None
        self._merging.believe(self._frames.own_vote, now)
        self._training.evaluate(self._merging.estimate)
        try:
            return self._publish_frame(frame, samples)
        except NotWrittenError:
            self._frames.give_up()
            raise

    def fail(self, error: NotWrittenError) -> None:
        """Note that the disk took nothing; the next message that is published ends this."""
        self._errors.count(error)
        since = self.unwritable["since"] if self.unwritable else self._clock.now()
        self.unwritable = {"since": since, "error": str(error)}

    def save(self) -> None:
        """Save all parts together with the own last message, if there is one; raises NotWrittenError."""
        if self._own.last is not None:
            self._save(self._own.last)

    def restore(self) -> bool:
        """Go on from the saved state; return False if there is none. Raises StateError."""
        data = self._state.load()
        if data is None:
            return False
        state = PeerState.from_bytes(data)
        if state.swarm != self._swarm:
            raise StateError(f"the saved state belongs to swarm {state.swarm}", "give this peer another name")
        self._training.restore(state)
        self._frames.restore(state)
        self._merging.restore(state)
        outcome = self._own.resume(state.message)
        self._traffic.bytes_out, self._traffic.bytes_in = state.bytes_out, state.bytes_in  # what is shown again is old
        self._view.note(outcome)
        return True

    def _publish_frame(self, frame: Frame, samples: int) -> Cid:
        blocks = tuple(self._store.put(RAW, block) for block in frame.blocks)
        merged = self._merging.unsaid
        body = Update(
            frame=frame.header,
            steps=self._training.steps,
            samples=samples,
            metrics=self._training.metrics,
            merged=merged,
            bytes_out=self._traffic.bytes_out,
            bytes_in=self._traffic.bytes_in,
        )
        message = self._own.compose(body.to_fields(), blocks)
        self._frames.published(message)
        published = self._commit(message)
        self._merging.said(len(merged))
        return published

    def _commit(self, message: Message) -> Cid:
        self._save(message)
        self._view.note(self._own.show(message))
        self.unwritable = None
        _log.debug("published %s: seq %d, %d blocks", message.cid.short, message.seq, len(message.blocks))
        return message.cid

    def _save(self, message: Message) -> None:
        state = PeerState(
            swarm=self._swarm,
            message=message.data,
            bytes_out=self._traffic.bytes_out,
            bytes_in=self._traffic.bytes_in,
            **self._frames.to_state(),
            **self._merging.to_state(),
            **self._training.to_state(),
        )
        self._state.save(state.to_bytes())
