"""What unit tests of the MQTT adapters use for a connection, and dicts that notice when their lock is not held."""

from collections.abc import Callable
from typing import Any

from learnae.adapters.mqtt.broker_limits import BrokerLimits
from learnae.adapters.mqtt.subscriptions import Handler, Received
from learnae.basics.bounded_dict import BoundedDict

_TOUCHED = "__contains__ __delitem__ __getitem__ __iter__ __len__ __setitem__ get items pop setdefault values"


class Desk:
    """A connection that is there: notes what is said and subscribed to, and hands over what a test lets it hear."""

    name, is_connected = "desk:1883", True

    def __init__(self, limits: BrokerLimits | None = None) -> None:
        self.limits = limits or BrokerLimits()
        self.kept: list[bytes] = []
        self.sent: list[tuple[str, bytes]] = []
        self.handlers: dict[str, Handler] = {}

    def keep(self, topic: str, payload: bytes, content_type: str = "") -> None:
        """Note a retained value."""
        self.kept.append(payload)

    def takes(self, topic: str, payload: bytes) -> bool:
        """Know the broker's limits."""
        return not self.limits.why_not_publish(topic, payload)

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        """Note a message."""
        self.sent.append((topic, payload))
        return True

    def deliver(self, topic: str, payload: bytes, timeout: float) -> None:
        """Note a message."""
        self.publish(topic, payload)

    def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Subscribe once to a filter."""
        assert topic_filter not in self.handlers
        self.handlers[topic_filter] = handler

    def unsubscribe(self, topic_filter: str) -> None:
        """End a subscription that was there."""
        del self.handlers[topic_filter]

    def hear(self, topic_filter: str, topic: str, payload: bytes) -> None:
        """Let a message come on ``topic`` for the subscriber to ``topic_filter``."""
        self.handlers[topic_filter](Received(topic, payload, "", False))


def guard(part: Any, *names: str) -> None:
    """Replace dicts of ``part`` by ones that may be touched only while its lock is held."""
    is_held = getattr(part._lock, "_is_owned", None) or part._lock.locked

    def checked(kind: type, method: str) -> Callable[..., Any]:
        def touch(*arguments: Any) -> Any:
            assert is_held(), f"{method} without the lock"
            return getattr(kind, method)(*arguments)

        return touch

    for name in names:
        value = getattr(part, name)
        kind = type(value)
        methods = {method: checked(kind, method) for method in _TOUCHED.split()}
        guarded: Any = type("Guarded", (kind,), methods)
        setattr(part, name, guarded(*([value.limit] if isinstance(value, BoundedDict) else [])))
