"""The thread of the exchange over MQTT: order, times, bounds, and what it survives."""

import threading
from collections.abc import Iterator

import pytest
from programs import wait_for

from learnae.adapters.mqtt.blocks.inbox import Counts, MqttInbox
from learnae.adapters.mqtt.subscriptions import Received
from learnae.errors import EncodingError


@pytest.fixture
def bounds() -> tuple[int, int]:
    return 256, 8 << 20


@pytest.fixture
def inbox(bounds) -> Iterator[MqttInbox]:
    made = MqttInbox(Counts(), *bounds)
    yield made
    made.close()


def message(payload: bytes = b"") -> Received:
    return Received("t", payload, "", False)


@pytest.mark.parametrize(("bounds", "payload"), [((3, 1000), b""), ((256, 299), bytes(100))])
def test_what_waits_is_bounded_and_the_rest_is_counted(inbox, payload):
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
    assert inbox._counts.describe() == "1 failed, 2 refused"
    assert caplog.text.count("no CBOR") == 1


def test_a_mistake_in_what_is_due_is_survived(inbox):
    handled = []

    def begin(received: Received) -> None:
        inbox.later(0.0, lambda: {}["a mistake"])
        inbox.later(0.0, lambda: handled.append(received))

    inbox.handler(begin)(message())
    wait_for(lambda: handled, "what is due after it")
    assert inbox._counts.describe() == "1 failed"


def test_what_is_due_happens_in_the_order_of_its_time(inbox):
    done: list[int] = []

    def begin(received: Received) -> None:
        for number, seconds in ((2, 0.2), (1, 0.1), (3, 0.3), (0, 0.0)):
            inbox.later(seconds, lambda number=number: done.append(number))

    inbox.handler(begin)(message())
    wait_for(lambda: len(done) == 4, "all")
    assert done == [0, 1, 2, 3]
