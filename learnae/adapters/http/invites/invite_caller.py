"""The side of a machine that has an invite code, over HTTP: it asks at all addresses of the code."""

import os
import threading
from collections import deque
from collections.abc import Mapping

from learnae.adapters.http.client import USER_AGENT, HttpClient, SilenceError
from learnae.adapters.http.invites.invite_desk import LENGTH_BYTES, RESPONSE_BYTES
from learnae.basics.overriding import override
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
from learnae.ports import InviteCaller

_CALL_SECONDS = 10.0
_WAITING = 64  # answers; what is dropped comes again with the next question


def invite_path(place: str) -> str:
    """Return where questions on the invite are sent that is answered at ``place``."""
    return f"/learnae/1/invite/{place}"


class HttpInviteCaller(InviteCaller):
    """Asks ``clients``, by their addresses, with the ``seed`` of an invite's code: each in a thread of its own.

    An address that does not answer keeps none of the others from it.
    """

    def __init__(self, clients: Mapping[str, HttpClient], seed: bytes) -> None:
        self._clients = clients
        self._seed, self._key = seed, public_key(seed)
        self._path = invite_path(meeting_place(self._key))
        self._session = os.urandom(SESSION_BYTES)
        self._heard: deque[bytes] = deque(maxlen=_WAITING)
        self._wish, self._asked = b"", 0
        self._reached: set[str] = set()
        self._states = dict.fromkeys(clients, "connecting")
        self._bad = ""
        self._changed = threading.Condition()
        self._is_closed = False
        for url in clients:
            threading.Thread(target=self._run, args=(url,), name="invite", daemon=True).start()

    def state(self) -> str:
        """Return what the status says of it."""
        states = list(self._states.values())
        return self._bad or next((state for state in states if state == "connected"), states[0])

    def reached(self) -> list[str]:
        """Return the addresses at which members have answered."""
        with self._changed:
            return [url for url in self._clients if url in self._reached]

    @override
    def ask(self, join: bytes = b"") -> None:
        with self._changed:
            self._wish, self._asked = join, self._asked + 1
            self._changed.notify_all()

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
                self._bad = f"bad answers: {error}"
        return found

    @override
    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for client in self._clients.values():
            client.close()

    def _run(self, url: str) -> None:
        asked = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked > asked or self._is_closed)  # noqa: B023 - called here
                if self._is_closed:
                    return
                join, asked = self._wish, self._asked
            self._call(url, seal_question(self._key, Question(self._session, join)))

    def _call(self, url: str, question: bytes) -> None:
        client = self._clients[url]
        try:
            found = client.ask("POST", self._path, _CALL_SECONDS, USER_AGENT, question, RESPONSE_BYTES)
        except (SilenceError, TransportError) as error:
            self._states[url] = f"away: {error or f'{client.name} does not answer'}"
            return
        if found.status != 200 or len(found.body) > RESPONSE_BYTES:
            self._states[url] = (
                f"{client.name} knows no such invite" if found.status == 404 else f"status {found.status}"
            )
            return
        self._states[url] = "connected"
        rest = found.body
        with self._changed:
            if rest:
                self._reached.add(url)
            while len(rest) > LENGTH_BYTES:
                end = LENGTH_BYTES + int.from_bytes(rest[:LENGTH_BYTES])
                self._heard.append(rest[LENGTH_BYTES:end])
                rest = rest[end:]
