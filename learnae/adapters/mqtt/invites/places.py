"""Topics of the exchange for an invite: ``PREFIX/invite/PLACE/ask`` and one for the answers of each session."""

import base64

from learnae.membership.rendezvous import Question, meeting_place

_ASK = "ask"


def questions_topic(prefix: str, key: bytes) -> str:
    """Return where questions on the invite of the public ``key`` are asked."""
    return answers_topic(prefix, key, _ASK)


def answers_topic(prefix: str, key: bytes, session: str) -> str:
    """Return where those of a session are answered; ``+`` is a filter for all, and for the questions."""
    return f"{prefix}/invite/{meeting_place(key)}/{session}"


def session_of(question: Question) -> str:
    """Return a session as topics name it."""
    return base64.b32encode(question.session).decode().rstrip("=").lower()
