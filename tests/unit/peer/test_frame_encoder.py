"""When a frame is a checkpoint: a newcomer fetches at most twice a keyframe, and others are not sent much more."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from builders import NOW, SWARM, Author, update_body

from learnae.errors import FrameError
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.state import PeerState
from learnae.protocol.bodies import DELTA, KEY
from learnae.protocol.limits import MINUTE
from learnae.weights.codecs import LADDER, NAMES, WHOLE
from learnae.weights.frames import Frame, FramePolicy, decode_frame

SECOND = 1000
LARGE = 20_000  # values: a keyframe of 80 kB, deltas of 20


class Speaker:
    """Publishes what an encoder gives, once a second."""

    def __init__(self, count: int = LARGE, every: int = 1024, delta: str = "q8") -> None:
        self.frames = FrameEncoder(FramePolicy("f32", delta, every))
        self.author, self.now = Author(1), NOW
        self.weights = np.random.default_rng(1).normal(size=count).astype(np.float32)

    def frame(self, whole: bool = False) -> Frame:
        self.now += SECOND
        self.weights = self.weights + np.float32(0.01)
        return self.frames.encode(self.weights, 10, self.now, whole)

    def speak(self, whole: bool = False) -> tuple[str, int]:
        """Returns the frame's kind, and the bytes of message and frame."""
        frame = self.frame(whole)
        body = update_body(frame.header.kind, frame.header.base, len(self.weights))
        message = self.author.say(body=body, time=self.now)
        self.frames.published(message, frame, settled=False)
        return frame.header.kind, len(message.data) + sum(map(len, frame.blocks))

    def kinds(self, count: int) -> list[str]:
        return [self.speak()[0] for _ in range(count)]


def test_a_keyframe_is_due_when_what_came_since_weighs_as_much() -> None:
    speaker = Speaker()
    said = [speaker.speak() for _ in range(100)]
    keys = [index for index, (kind, _) in enumerate(said) if kind == KEY]
    assert keys[0] == 0
    for start, end in pairwise(keys):
        since = sum(size for _, size in said[start + 1 : end])
        assert 4 * LARGE <= since < 4 * LARGE + said[start + 1][1], "no sooner, and at the next update"
    assert len(keys) > 10


@pytest.mark.parametrize(("delta", "kinds"), [("f32", [KEY, DELTA, KEY, DELTA]), ("q4", [KEY, DELTA, DELTA, DELTA])])
def test_where_a_keyframe_takes_no_more_than_a_delta_every_second_update_is_one(delta: str, kinds: list[str]) -> None:
    assert Speaker(delta=delta).kinds(4) == kinds


@pytest.mark.parametrize("delta", [name for name in NAMES if name not in WHOLE])
def test_newcomers_fetch_nine_keyframes_worth_and_keyframes_make_an_eighth_more_at_most(delta: str) -> None:
    speaker = Speaker(delta=delta)
    speaker.frames.policy = FramePolicy("q8", delta, 1024)
    said = [speaker.speak() for _ in range(200)]
    keys = [index for index, (kind, _) in enumerate(said) if kind == KEY]
    for start, end in pairwise(keys):
        key, since = said[start][1], [size for _, size in said[start + 1 : end]]
        assert sum(since) < 8 * key + since[-1]
        assert sum(size for _, size in said[start:end]) <= 9 / 8 * sum(since) + since[-1]


def test_where_a_message_weighs_more_than_the_model_every_second_update_is_one() -> None:
    assert Speaker(count=3).kinds(6) == [KEY, DELTA] * 3


def test_a_keyframe_is_due_after_so_many_updates() -> None:
    assert Speaker(every=4).kinds(9) == [KEY, DELTA, DELTA, DELTA, KEY, DELTA, DELTA, DELTA, KEY]


@pytest.mark.parametrize("jump", [15 * MINUTE, -MINUTE])
def test_a_keyframe_is_due_when_the_last_is_old_or_of_the_future(jump: int) -> None:
    speaker = Speaker()
    assert speaker.kinds(2) == [KEY, DELTA]
    speaker.now += jump
    assert speaker.kinds(2) == [KEY, DELTA]


def test_a_frame_stands_alone_where_others_have_nothing_to_stand_on() -> None:
    speaker = Speaker()
    assert speaker.kinds(2) == [KEY, DELTA]
    assert speaker.speak(whole=True)[0] == KEY
    assert speaker.kinds(2) == [DELTA, DELTA]
    speaker.frame()
    speaker.frames.give_up()
    assert speaker.kinds(2) == [KEY, DELTA]
    speaker.frames.forget()
    assert speaker.frames.own_vote is None
    assert speaker.kinds(2) == [KEY, DELTA]


def test_weights_that_are_none_change_nothing() -> None:
    speaker = Speaker()
    speaker.kinds(2)
    before, vote = speaker.frames.to_state(), speaker.frames.own_vote
    with pytest.raises(FrameError):
        speaker.frames.encode(np.full(LARGE, np.nan, np.float32), 10, speaker.now)
    assert speaker.frames.own_vote is vote
    assert {name: value for name, value in speaker.frames.to_state().items() if name != "replica"} == {
        name: value for name, value in before.items() if name != "replica"
    }


def test_after_a_restart_the_next_keyframe_is_due_when_it_was() -> None:
    steady, restarted = Speaker(), Speaker()
    kinds = []
    for _ in range(60):
        kinds += restarted.kinds(1)
        rest = {"swarm": SWARM, "message": b"", "steps": 0, "bytes_out": 0, "bytes_in": 0}
        weights = {"weights": restarted.weights, "estimate": restarted.weights}
        saved = PeerState(**rest, **weights, **restarted.frames.to_state()).to_bytes()
        restarted.frames = FrameEncoder(restarted.frames.policy)
        restarted.frames.restore(PeerState.from_bytes(saved))
    assert kinds == steady.kinds(60)
    assert kinds.count(KEY) > 1


@pytest.mark.parametrize("delta", LADDER)
def test_the_finest_codec_is_taken_with_which_updates_fit_the_room_and_none_finer_than_the_swarms(delta: str) -> None:
    speaker = Speaker(4295, every=32, delta=delta)
    speaker.frames.policy, speaker.frames.may_be_coarser = FramePolicy("q8", delta, 32), True
    told, spent = [], {}
    for room in (math.inf, 6000, 4500, 3500, 2500, 1000):
        speaker.frames.room = room
        said = [speaker.speak() for _ in range(64)]
        codec = speaker.frames.codec(4295)
        told.append(LADDER.index(codec))
        spent[codec] = sum(size for _, size in said) / len(said)
        assert spent[codec] <= room * 1.05 or codec == LADDER[-1]
    assert told == sorted(told)
    assert (told[0], told[-1]) == (LADDER.index(delta), len(LADDER) - 1)
    assert list(spent) == list(LADDER[LADDER.index(delta) :])


@pytest.mark.parametrize(("delta", "may_be_coarser"), [("q8", False), ("f32", True), ("top10", True)])
def test_what_must_be_exact_stays_so_however_little_room_there_is(delta: str, may_be_coarser: bool) -> None:
    frames = FrameEncoder(FramePolicy("q8", delta), may_be_coarser=may_be_coarser, room=0)
    assert frames.codec(4295) == delta


def test_followers_have_the_authors_replica_whatever_codec_each_delta_is_in() -> None:
    speaker, replica = Speaker(4295), None
    speaker.frames.policy, speaker.frames.may_be_coarser = FramePolicy("q8", "q8", 32), True
    codecs = set()
    for number in range(30):
        speaker.frames.room = (math.inf, 4500, 2500, 0)[number % 4]
        frame = speaker.frame()
        replica = decode_frame(frame.header, frame.blocks, replica, 4295)
        assert replica.tobytes() == frame.replica.tobytes()
        codecs.add(frame.header.codec)
        body = update_body(frame=frame.header.to_fields())
        speaker.frames.published(speaker.author.say(body=body, time=speaker.now), frame, settled=False)
    assert codecs >= set(LADDER)
