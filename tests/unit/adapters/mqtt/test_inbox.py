"""The thread of the exchange over MQTT: order, times, bounds, and what it survives."""

from __future__ import annotations

import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator

import pytest
from programs import wait_for

from learnae.adapters.mqtt.blocks import inbox as mqtt_inbox
from learnae.adapters.mqtt.blocks.inbox import MqttInbox
from learnae.adapters.mqtt.blocks.responder import remember
from learnae.adapters.mqtt.connection import Received
from learnae.errors import EncodingError


@pytest.fixture
def inbox() -> Iterator[MqttInbox]:
    made = MqttInbox(Counter())
    yield made
    made.close()


def message(payload: bytes = b"") -> Received:
    return Received("t", payload, "", False)


@pytest.mark.parametrize(("bound", "value", "payload"), [("_MESSAGES", 3, b""), ("_BYTES", 299, bytes(100))])
def test_what_waits_is_bounded_and_the_rest_is_counted(inbox, monkeypatch, bound, value, payload):
    monkeypatch.setattr(mqtt_inbox, bound, value)
    may_go_on, handled = threading.Event(), []

    def handle(received: Received) -> None:
        may_go_on.wait(60)
        handled.append(received)

    put = inbox.handler(handle)
    put(message())  # the thread is busy with this one, or about to be
    wait_for(lambda: inbox._queue.qsize() == 0, "the thread to be busy")
    for _ in range(10):
        put(message(payload))
    assert inbox._counts["dropped: too fast"] == 7
    may_go_on.set()
    wait_for(lambda: len(handled) == 4, "what had room")
    put(message(payload))
    wait_for(lambda: len(handled) == 5, "what comes after that")


def test_mistakes_of_others_and_of_ours_are_counted_and_survived(inbox, caplog):
    handled = []

    def refuse(received: Received) -> None:
        raise EncodingError("no CBOR")

    def stumble(received: Received) -> None:
        raise RuntimeError("a mistake")

    for handle in (refuse, refuse, stumble, handled.append):
        inbox.handler(handle)(message())
    wait_for(lambda: handled, "the last one")
    assert inbox._counts == {"refused": 2, "failed": 1}
    assert caplog.text.count("no CBOR") == 1


def test_a_mistake_in_what_is_due_is_survived(inbox):
    handled = []

    def begin(received: Received) -> None:
        inbox.later(0.0, lambda: {}["a mistake"])
        inbox.later(0.0, lambda: handled.append(received))

    inbox.handler(begin)(message())
    wait_for(lambda: handled, "what is due after it")
    assert inbox._counts == {"failed": 1}


def test_what_is_remembered_again_is_there_at_any_time():
    names: OrderedDict[str, int] = OrderedDict(a=1, b=2)
    found, tracing = [], sys.gettrace()

    def look(frame, _event, _argument):
        if frame.f_code is remember.__code__:
            found.append("a" in names)
        return look

    sys.settrace(look)  # at every line, as another thread may
    try:
        remember(names, "a", 3, 2)
    finally:
        sys.settrace(tracing)
    assert all(found)
    assert len(found) > 2
    remember(names, "c", 4, 2)
    assert list(names.items()) == [("a", 3), ("c", 4)]  # the newest


def test_what_is_due_happens_in_the_order_of_its_time(inbox):
    done: list[int] = []

    def begin(received: Received) -> None:
        for number, seconds in ((2, 0.2), (1, 0.1), (3, 0.3), (0, 0.0)):
            inbox.later(seconds, lambda number=number: done.append(number))

    inbox.handler(begin)(message())
    wait_for(lambda: len(done) == 4, "all")
    assert done == [0, 1, 2, 3]
