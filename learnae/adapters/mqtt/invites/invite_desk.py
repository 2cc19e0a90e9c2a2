"""The members' side: questions of machines with an invite code come in, answers go out.

What comes is bounded before it is opened, and opened before it waits: the broker's other users can send anything.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.invites.places import answers_topic, questions_topic, session_of
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import LearnaeError
from learnae.membership.rendezvous import QUESTION_BYTES, Answer, Question, open_question, seal_answer
from learnae.ports import InviteDesk

_WAITING = 64  # questions; a machine that is not heard repeats its own
_BURST, _RATE = 32.0, 1.0  # questions of one invite that are opened at once, and a second after that
_SESSIONS = 256  # of which it is known when they were last answered
_BEGINNING = 32  # bytes of an answer, no two of which are alike
_ENOUGH_SECONDS = 1.0  # for which the answer of another member will do …
_LEFT_TO_OTHERS = 0.75  # … so often: what looks like an answer may be none


class MqttInviteDesk(InviteDesk):
    """Hears, over a broker, questions on the invites that are open. ``monotonic`` tells seconds."""

    def __init__(
        self,
        connection: MqttConnection,
        prefix: str,
        errors: ErrorLog,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connection = connection
        self._prefix = prefix
        self._errors = errors
        self._monotonic = monotonic
        self._chance = chance
        self._lock = threading.Lock()
        self._open: dict[bytes, TokenBucket] = {}
        self._waiting = BoundedDict[tuple[bytes, bytes], Question](_WAITING)
        self._own = BoundedDict[bytes, None](_SESSIONS)  # beginnings of own answers, which come back
        self._answered = BoundedDict[str, float](_SESSIONS)  # by a session's topic, when another member did

    @override
    def open(self, keys: Collection[bytes]) -> None:
        with self._lock:
            closed = [key for key in self._open if key not in keys]
            opened = [key for key in keys if key not in self._open]
            for key in closed:
                del self._open[key]
            for key in opened:
                self._open[key] = TokenBucket(_BURST, _RATE, self._monotonic)
        for key in closed:
            self._connection.unsubscribe(answers_topic(self._prefix, key, "+"))
        for key in opened:
            self._connection.subscribe(answers_topic(self._prefix, key, "+"), self._listener(key))

    @override
    def take(self) -> list[tuple[bytes, Question]]:
        """Return the questions that wait, but those that others have answered."""
        with self._lock:
            found = [(key, question) for (key, _), question in self._waiting.items()]
            self._waiting.clear()
            return [each for each in found if not self._is_left(*each)]

    @override
    def answer(self, key: bytes, question: Question, answers: Iterable[Answer]) -> None:
        topic = answers_topic(self._prefix, key, session_of(question))
        for answer in answers:
            sealed = seal_answer(key, answer)
            with self._lock:
                self._own[sealed[:_BEGINNING]] = None
            if not self._connection.publish(topic, sealed):
                return

    def _is_left(self, key: bytes, question: Question) -> bool:
        topic = answers_topic(self._prefix, key, session_of(question))
        last = self._answered.get(topic, float("-inf"))
        return self._monotonic() - last < _ENOUGH_SECONDS and self._chance() < _LEFT_TO_OTHERS

    def _listener(self, key: bytes) -> Callable[[Received], None]:
        asking = questions_topic(self._prefix, key)

        def hear(received: Received) -> None:
            if received.topic == asking:
                self._on_question(key, received.payload)
            else:
                with self._lock:
                    if received.payload[:_BEGINNING] not in self._own:
                        self._answered.renew(received.topic, self._monotonic())

        return hear

    def _on_question(self, key: bytes, payload: bytes) -> None:
        with self._lock:
            bucket = self._open.get(key)
            if bucket is None or len(payload) > QUESTION_BYTES or not bucket.take():
                return
        try:
            question = open_question(key, payload)
        except LearnaeError as error:
            self._errors.count(error)
            return
        with self._lock:
            self._waiting[key, question.session] = question
