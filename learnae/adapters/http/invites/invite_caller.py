"""The side of a machine that has an invite code, over HTTP: it asks one member after the other."""

import os
import threading
from collections import deque
from collections.abc import Sequence

from learnae.adapters.http.client import USER_AGENT, HttpClient, SilenceError
from learnae.adapters.http.invites.invite_desk import LENGTH_BYTES, RESPONSE_BYTES
from learnae.errors import LearnaeError, TransportError
from learnae.membership.rendezvous import (
    SESSION_BYTES,
    Answer,
    Question,
    meeting_place,
    open_answer,
    public_key,
    seal_question,
)
from learnae.overriding import override
from learnae.ports import InviteCaller

_CALL_SECONDS = 10.0
_WAITING = 64  # answers; what is dropped comes again with the next question


def invite_path(place: str) -> str:
    """Return where questions on the invite are sent that is answered at ``place``."""
    return f"/learnae/1/invite/{place}"


class HttpInviteCaller(InviteCaller):
    """Asks ``clients``, with the ``seed`` of an invite's code, in a thread of its own."""

    def __init__(self, clients: Sequence[HttpClient], seed: bytes) -> None:
        self._clients = clients
        self._seed, self._key = seed, public_key(seed)
        self._path = invite_path(meeting_place(self._key))
        self._session = os.urandom(SESSION_BYTES)
        self._heard: deque[bytes] = deque(maxlen=_WAITING)
        self._wish: bytes | None = None
        self._state = "connecting"
        self._changed = threading.Condition()
        self._is_closed = False
        threading.Thread(target=self._run, name="invite", daemon=True).start()

    def state(self) -> str:
        """Return what the status says of it."""
        return self._state

    @override
    def ask(self, join: bytes = b"") -> None:
        with self._changed:
            self._wish = join
            self._changed.notify()

    @override
    def take(self) -> list[Answer]:
        with self._changed:
            heard = list(self._heard)
            self._heard.clear()
        found = []
        for data in heard:
            try:
                found.append(open_answer(self._seed, data))
            except LearnaeError as error:
                self._state = f"bad answers: {error}"
        return found

    @override
    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        for client in self._clients:
            client.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wish is not None or self._is_closed)
                if self._is_closed or self._wish is None:
                    return
                join, self._wish = self._wish, None
            for client in self._clients:
                self._call(client, seal_question(self._key, Question(self._session, join)))

    def _call(self, client: HttpClient, question: bytes) -> None:
        try:
            found = client.ask("POST", self._path, _CALL_SECONDS, USER_AGENT, question, RESPONSE_BYTES)
        except (SilenceError, TransportError) as error:
            self._state = f"away: {error or f'{client.name} does not answer'}"
            return
        if found.status != 200 or len(found.body) > RESPONSE_BYTES:
            self._state = f"{client.name} knows no such invite" if found.status == 404 else f"status {found.status}"
            return
        self._state = "connected"
        rest = found.body
        with self._changed:
            while len(rest) > LENGTH_BYTES:
                end = LENGTH_BYTES + int.from_bytes(rest[:LENGTH_BYTES])
                self._heard.append(rest[LENGTH_BYTES:end])
                rest = rest[end:]
