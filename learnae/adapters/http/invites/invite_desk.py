"""The members' side over HTTP: a question is a POST to the invite's place, its answer brings what answers there are.

What comes is bounded before it is opened, and opened before it waits: everyone in the network can send anything.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable

from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import LearnaeError
from learnae.membership.rendezvous import (
    QUESTION_BYTES,
    Answer,
    Question,
    meeting_place,
    open_question,
    seal_answer,
)
from learnae.ports import InviteDesk

LENGTH_BYTES = 4  # before each answer of a response
RESPONSE_BYTES = 1 << 20
_WAITING = 64  # questions
_SESSIONS = 16  # with answers that have not been fetched
_KEPT_BYTES = 2 << 20  # of a session's answers
_BURST, _RATE = 32.0, 1.0  # questions of one invite that are opened at once, and a second after that
_WAIT_SECONDS = 1.0  # that a request is held: a member looks every quarter of a second


class HttpInviteDesk(InviteDesk):
    """Answers in the server's threads what the peer's own has said. ``monotonic`` tells seconds."""

    def __init__(
        self, errors: ErrorLog, monotonic: Callable[[], float] = time.monotonic, wait: float = _WAIT_SECONDS
    ) -> None:
        self._errors = errors
        self._monotonic = monotonic
        self._wait = wait
        self._changed = threading.Condition()
        self._open: dict[str, tuple[bytes, TokenBucket]] = {}  # by place
        self._waiting = BoundedDict[tuple[bytes, bytes], Question](_WAITING)
        self._answers = BoundedDict[bytes, deque[bytes]](_SESSIONS)  # by session

    @override
    def open(self, keys: Collection[bytes]) -> None:
        places = {meeting_place(key): key for key in keys}
        with self._changed:
            kept = {place: self._open[place] for place in places if place in self._open}
            new = {place: (key, TokenBucket(_BURST, _RATE, self._monotonic)) for place, key in places.items()}
            self._open = {**new, **kept}

    @override
    def take(self) -> list[tuple[bytes, Question]]:
        with self._changed:
            found = [(key, question) for (key, _), question in self._waiting.items()]
            self._waiting.clear()
            return found

    @override
    def answer(self, key: bytes, question: Question, answers: Iterable[Answer]) -> None:
        kept, size = deque[bytes](), 0
        for answer in answers:
            sealed = seal_answer(key, answer)
            size += len(sealed)
            if size > _KEPT_BYTES:
                break
            kept.append(sealed)
        with self._changed:
            self._answers.renew(question.session, kept)
            self._changed.notify_all()

    def ask(self, place: str, body: bytes) -> bytes | None:
        """Return the answers to a question, each after its length; None if no invite is answered at that place."""
        with self._changed:
            found = self._open.get(place)
            if found is None:
                return None
            key, bucket = found
            if len(body) > QUESTION_BYTES or not bucket.take():
                return b""
        try:
            question = open_question(key, body)
        except LearnaeError as error:
            self._errors.count(error)
            return b""
        with self._changed:
            if not self._answers.get(question.session):
                self._waiting[key, question.session] = question
                self._changed.wait_for(lambda: self._answers.get(question.session), self._wait)
            return self._fetched(question.session)

    def _fetched(self, session: bytes) -> bytes:
        waiting, response = self._answers.get(session, deque[bytes]()), b""
        while waiting and len(response) + LENGTH_BYTES + len(waiting[0]) <= RESPONSE_BYTES:
            sealed = waiting.popleft()
            response += len(sealed).to_bytes(LENGTH_BYTES) + sealed
        return response
