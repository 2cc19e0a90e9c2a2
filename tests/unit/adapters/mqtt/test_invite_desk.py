"""Where holders of an invite code and members meet: bounds, and what reads whose words."""

import pytest
from desk import Desk
from hypothesis import given
from hypothesis import strategies as st

from learnae.adapters.mqtt.invites.invite_caller import MqttInviteCaller
from learnae.adapters.mqtt.invites.invite_desk import MqttInviteDesk
from learnae.adapters.mqtt.invites.places import answers_topic, questions_topic
from learnae.basics.error_log import ErrorLog
from learnae.errors import PeerError, SealError
from learnae.membership.rendezvous import (
    BATCH_BYTES,
    QUESTION_BYTES,
    Answer,
    Question,
    answers,
    meeting_place,
    open_answer,
    open_question,
    public_key,
    seal_answer,
    seal_question,
)

SEED, OTHER = bytes(range(32)), bytes(32)
KEY = public_key(SEED)
ASKING, ANSWERS = questions_topic("t", KEY), answers_topic("t", KEY, "+")


class Meeting:
    """One holder of a code and two members, whose words a test carries."""

    def __init__(self) -> None:
        self.now = 0.0
        self.errors = ErrorLog()
        self.desks = [Desk(), Desk()]
        self.members = [MqttInviteDesk(desk, "t", self.errors, lambda: self.now, lambda: 0.5) for desk in self.desks]  # type: ignore[arg-type]
        for member in self.members:
            member.open([KEY])
        self.own = Desk()
        self.caller = MqttInviteCaller(self.own, "t", SEED)  # type: ignore[arg-type]

    def carry(self) -> None:
        """Let everyone hear what has been said since, also the one that has said it."""
        for source in (self.own, *self.desks):
            said, source.sent = source.sent, []
            for topic, payload in said:
                for desk in self.desks:
                    desk.hear(ANSWERS, topic, payload)
                for each, handler in self.own.handlers.items():
                    if each == topic:
                        handler(_received(topic, payload))

    def ask(self, payload: bytes) -> None:
        for desk in self.desks:
            desk.hear(ANSWERS, ASKING, payload)


def _received(topic: str, payload: bytes):  # type: ignore[no-untyped-def]
    from learnae.adapters.mqtt.subscriptions import Received

    return Received(topic, payload, "", False)


def test_what_is_asked_is_answered_once_by_one_of_two_members() -> None:
    meeting = Meeting()
    first, second = meeting.members
    meeting.caller.ask()
    meeting.carry()
    ((key, question),) = first.take()
    first.answer(key, question, [Answer((b"manifest",))])
    meeting.carry()
    assert meeting.caller.take() == [Answer((b"manifest",))]
    assert second.take() == []  # it has heard the answer of the first
    meeting.caller.ask(b"join")
    meeting.carry()
    assert [question.join for _, question in first.take()] == [b"join"], "an own answer keeps no one from the next"
    meeting.now = 2.0
    meeting.caller.ask(b"join")
    meeting.carry()
    assert [question.join for _, question in second.take()] == [b"join"]


def test_what_only_looks_like_answers_silences_no_member() -> None:
    meeting = Meeting()
    member = MqttInviteDesk(desk := Desk(), "t", meeting.errors, lambda: 0.0, lambda: 0.8)  # type: ignore[arg-type]
    member.open([KEY])
    meeting.caller.ask()
    desk.hear(ANSWERS, ASKING, meeting.own.sent[0][1])
    desk.hear(ANSWERS, answers_topic("t", KEY, meeting.caller._answers_topic.split("/")[-1]), b"noise")
    assert len(member.take()) == 1


def test_a_flood_and_what_does_not_open_are_dropped_unread() -> None:
    meeting = Meeting()
    member, desk = meeting.members[0], meeting.desks[0]
    desk.hear(ANSWERS, ASKING, bytes(QUESTION_BYTES + 1))
    assert meeting.errors.counts == {}
    for number in range(1000):
        desk.hear(ANSWERS, ASKING, seal_question(public_key(OTHER), Question(number.to_bytes(16))))
    assert meeting.errors.counts == {"SealError": 32}, "the bucket is empty: nothing more is opened"
    meeting.now = 1000.0
    for number in range(1000):
        desk.hear(ANSWERS, ASKING, seal_question(KEY, Question(number.to_bytes(16))))
    assert len(member.take()) == 32
    assert member.take() == []


def test_an_invite_that_is_closed_is_heard_no_more() -> None:
    meeting = Meeting()
    meeting.members[0].open([])
    assert meeting.desks[0].handlers == {}


def test_answers_are_for_the_holder_of_the_code_and_questions_for_those_that_know_the_invite() -> None:
    answer = seal_answer(KEY, Answer((b"manifest",)))
    with pytest.raises(SealError):
        open_answer(OTHER, answer)
    with pytest.raises(SealError):
        open_question(public_key(OTHER), seal_question(KEY, Question(bytes(16))))
    assert b"manifest" not in answer
    for weak in (bytes(32), (1).to_bytes(32, "little")):  # points of small order: all could open it
        with pytest.raises(SealError):
            seal_answer(weak, Answer())
    assert meeting_place(KEY) != meeting_place(public_key(OTHER))


@given(st.lists(st.integers(1, 3 * BATCH_BYTES // 2), max_size=12))
def test_blocks_are_parted_into_bounded_answers_in_order(sizes: list[int]) -> None:
    blocks = [bytes(size) for size in sizes]
    parted = list(answers(blocks))
    assert [block for answer in parted for block in answer.blocks] == blocks
    assert all(len(answer.blocks) == 1 or sum(map(len, answer.blocks)) <= BATCH_BYTES for answer in parted)


@given(st.data())
def test_whatever_comes_is_read_or_refused_by_name(data: st.DataObject) -> None:
    sealed = seal_answer(KEY, Answer((b"record",), "")) if data.draw(st.booleans()) else b""
    changed = bytearray(sealed or data.draw(st.binary(max_size=200)))
    if sealed:
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PeerError):
        open_answer(SEED, bytes(changed))
    with pytest.raises(PeerError):
        open_question(KEY, bytes(changed))
