"""Invites answered over HTTP: what a server's thread waits for, and what it never opens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

from daemon import HOST, free_port
from lan_rig import LanMember, new_swarm
from programs import wait_for

from learnae.adapters.http.invites.invite_caller import HttpInviteCaller
from learnae.adapters.http.invites.invite_desk import LENGTH_BYTES, RESPONSE_BYTES, HttpInviteDesk
from learnae.adapters.http.member import make_client
from learnae.adapters.http.serving.server import HttpServer
from learnae.adapters.http.serving.service import SwarmService
from learnae.basics.error_log import ErrorLog
from learnae.membership.rendezvous import (
    QUESTION_BYTES,
    Answer,
    Question,
    meeting_place,
    open_answer,
    public_key,
    seal_question,
)

SEED = bytes(range(32))
KEY = public_key(SEED)
PLACE = meeting_place(KEY)
QUESTION = Question(b"session of a try", b"join")


def parted(response: bytes | None) -> list[Answer]:
    found, rest = [], response or b""
    while rest:
        end = LENGTH_BYTES + int.from_bytes(rest[:LENGTH_BYTES])
        found.append(open_answer(SEED, rest[LENGTH_BYTES:end]))
        rest = rest[end:]
    return found


def asked(desk: HttpInviteDesk, serve: Callable[[], None]) -> bytes | None:
    """Ask as a server's thread does, while ``serve`` runs in the peer's own."""
    found: list[bytes | None] = []
    thread = threading.Thread(target=lambda: found.append(desk.ask(PLACE, seal_question(KEY, QUESTION))))
    thread.start()
    serve()
    thread.join(30)
    return found[0]


def test_a_request_waits_for_the_peers_own_thread_and_brings_all_answers() -> None:
    desk = HttpInviteDesk(ErrorLog(), wait=30.0)
    desk.open([KEY])
    said = [Answer((b"manifest",)), Answer((b"record",))]

    def serve() -> None:
        while not (taken := desk.take()):
            threading.Event().wait(0.01)
        assert taken == [(KEY, QUESTION)]
        desk.answer(KEY, QUESTION, said)

    assert parted(asked(desk, serve)) == said


def test_more_than_one_response_holds_comes_with_the_next_question() -> None:
    desk = HttpInviteDesk(ErrorLog(), wait=0.0)
    desk.open([KEY])
    said = [Answer((bytes([number]) * 200_000,)) for number in range(8)]
    desk.answer(KEY, QUESTION, said)
    first, second = (desk.ask(PLACE, seal_question(KEY, QUESTION)) for _ in range(2))
    assert first is not None
    assert len(first) <= RESPONSE_BYTES
    assert [*parted(first), *parted(second)] == said
    assert desk.take() == [], "while answers wait, the peer is not asked again"


def test_what_is_too_large_too_often_or_of_another_invite_is_not_opened() -> None:
    errors = ErrorLog()
    desk = HttpInviteDesk(errors, lambda: 0.0, wait=0.0)
    assert desk.ask(PLACE, b"") is None
    desk.open([KEY])
    assert desk.ask(PLACE, bytes(QUESTION_BYTES + 1)) == b""
    for _ in range(100):
        assert desk.ask(PLACE, seal_question(public_key(bytes(32)), QUESTION)) == b""
    assert errors.counts == {"SealError": 32}
    desk.open([KEY])
    assert desk.ask(PLACE, seal_question(KEY, QUESTION)) == b"", "opening it again fills no bucket"
    assert desk.take() == []
    desk.open([])
    assert desk.ask(PLACE, b"") is None


def test_an_address_where_nothing_answers_keeps_none_of_the_others_waiting(tmp_path: Path) -> None:
    desk, errors = HttpInviteDesk(ErrorLog(), wait=30.0), ErrorLog()
    desk.open([KEY])
    member = LanMember(tmp_path, new_swarm(), serves=False)
    service = SwarmService(
        member.swarm, "meeting", member.store.get, member.own, member.gossip, member.uploads, lambda *_: True,
        invites=desk.ask,
    )  # fmt: skip
    server = HttpServer(HOST, port := free_port(), service, errors)
    server.start()
    with socket.create_server((HOST, 0)) as silent:  # takes connections, and says nothing
        urls = {f"http://{HOST}:{each}": each for each in (silent.getsockname()[1], 9, port)}
        caller = HttpInviteCaller({url: make_client(HOST, each, None, False) for url, each in urls.items()}, SEED)
        caller.ask(b"join")
        ((key, question),) = wait_for(desk.take, "the question")
        assert (key, question.join) == (KEY, b"join")
        desk.answer(key, question, [Answer((b"record",))])
        assert wait_for(caller.take, "the answer") == [Answer((b"record",))]
        assert caller.reached() == [f"http://{HOST}:{port}"]
        assert caller.state() == "connected"
        caller.close()
    server.close()
    member.close()
    assert errors.counts == {}
