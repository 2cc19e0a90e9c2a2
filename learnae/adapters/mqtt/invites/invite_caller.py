"""The side of a machine that has an invite code: it asks until it has been answered."""

import os
import threading
from collections import deque

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.invites.places import answers_topic, questions_topic, session_of
from learnae.adapters.mqtt.subscriptions import Received
from learnae.basics.overriding import override
from learnae.errors import LearnaeError
from learnae.membership.rendezvous import (
    ANSWER_BYTES,
    SESSION_BYTES,
    Answer,
    Question,
    open_answer,
    public_key,
    seal_question,
)
from learnae.ports import InviteCaller

_WAITING = 64  # answers; what is dropped comes again with the next question


class MqttInviteCaller(InviteCaller):
    """Asks, over a broker, with the ``seed`` of an invite's code,."""

    def __init__(self, connection: MqttConnection, prefix: str, seed: bytes) -> None:
        self._connection = connection
        self._seed, self._key = seed, public_key(seed)
        self._asking = questions_topic(prefix, self._key)
        self._session = os.urandom(SESSION_BYTES)
        self._answers_topic = answers_topic(prefix, self._key, session_of(Question(self._session)))
        self._lock = threading.Lock()
        self._heard: deque[bytes] = deque(maxlen=_WAITING)
        self.bad = 0  # answers that did not open
        connection.subscribe(self._answers_topic, self._on_answer)

    @override
    def ask(self, join: bytes = b"") -> None:
        self._connection.publish(self._asking, seal_question(self._key, Question(self._session, join)))

    @override
    def take(self) -> list[Answer]:
        with self._lock:
            heard = list(self._heard)
            self._heard.clear()
        found = []
        for payload in heard:
            try:
                found.append(open_answer(self._seed, payload))
            except LearnaeError:
                self.bad += 1
        return found

    @override
    def close(self) -> None:
        self._connection.unsubscribe(self._answers_topic)

    def _on_answer(self, received: Received) -> None:
        if len(received.payload) <= ANSWER_BYTES:
            with self._lock:
                self._heard.append(received.payload)
