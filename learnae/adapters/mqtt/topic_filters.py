"""Topic filters that bring one topic: a topic, or a share of it (MQTT 5.0, sections 4.7 and 4.8.2)."""

from learnae.errors import ConfigurationError

_SHARE = "$share"
_OTHER_SHARES = ("$queue/", "$exclusive/")  # one broker's own words, to all others a usual topic
_MAX_BYTES = 65_535


def topic_of(topic_filter: str) -> str:
    """Return what messages are matched with: the filter without the ``$share/GROUP/`` of a shared subscription."""
    return topic_filter.split("/", 2)[2] if _is_shared(topic_filter) else topic_filter


def check_single(key: str, topic_filter: str) -> None:
    """Raise ConfigurationError unless the filter brings the messages of exactly one topic; ``key`` is where it is."""
    topic = topic_of(topic_filter)
    group = topic_filter.split("/", 2)[1] if _is_shared(topic_filter) else ""
    what = f"{key} is {topic_filter!r}"
    if topic.startswith(_SHARE) or any(wildcard in group for wildcard in "+#"):
        raise ConfigurationError(f"{what}, which is no shared subscription", "write $share/GROUP/TOPIC")
    if "+" in topic or "#" in topic:
        raise ConfigurationError(
            f"{what}, which may bring the messages of several devices", "name one topic, without + and #"
        )
    if topic.startswith(_OTHER_SHARES):
        raise ConfigurationError(f"{what}, which brokers understand differently", "write $share/GROUP/TOPIC, or TOPIC")
    if not topic or not topic.isprintable() or len(topic_filter.encode()) > _MAX_BYTES:
        raise ConfigurationError(f"{what}, which is no topic", f"use printable characters, at most {_MAX_BYTES} bytes")


def _is_shared(topic_filter: str) -> bool:
    first, *rest = topic_filter.split("/", 2)
    return first == _SHARE and len(rest) == 2 and bool(rest[0]) and bool(rest[1])
