"""``learnae watch --broker``: a swarm as its topics show it, on any machine that reaches the broker."""

from __future__ import annotations

import argparse
import time

from rich.table import Table
from rich.text import Text

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.monitor.subscriber import Seen, Subscriber
from learnae.adapters.mqtt.topics import ONLINE
from learnae.cli.output import fitting, human_bytes, shedding, short_cid
from learnae.cli.refresh import look
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError, EncodingError, TransportError
from learnae.ipld.cid import Cid
from learnae.text import counted

_CONNECT_SECONDS, _CONNECT_LOOK = 10.0, 0.02  # so long, and so often, is looked for a broker that has not answered
_QUIET_SECONDS, _FIRST_LOOK_SECONDS = 0.5, 3.0  # retained values come at once: all are here when nothing more comes
_UNWRITABLE = "cannot save"  # online, and publishing nothing: its disk is full or read-only
_COLORS = {"online": "green", "offline": "red", _UNWRITABLE: "red"}


def watch(options: argparse.Namespace) -> int:
    """A live table until interrupted; one JSON line an interval with --json."""
    section = MqttSection(
        broker=options.broker,
        user=options.user,
        password_file=options.password_file,
        ca_file=options.ca_file,
        cert_file=options.cert_file,
        key_file=options.key_file,
        prefix=options.prefix,
    )
    connection = MqttConnection(section)
    audience = Subscriber(connection, section.prefix, _swarm(options.swarm) if options.swarm else "+")
    connection.start()
    try:
        _wait_for_retained(connection, audience)
        look(options, audience.peers, lambda: _table(connection, audience))
        if options.rounds and not connection.is_connected:  # what was shown is nothing, or old
            raise TransportError(
                f"MQTT broker {connection.name} is {connection.state()}", "check --broker, and the broker"
            )
        return 0
    finally:
        connection.close()


def _swarm(text: str) -> str:
    try:
        return str(Cid.parse(text))
    except EncodingError as error:
        raise ConfigurationError(
            f"--swarm: {error.problem}", "topics hold the swarm's id, as `swarm create` prints it"
        ) from error


def _wait_for_retained(connection: MqttConnection, audience: Subscriber) -> None:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while _is_expected(connection) and time.monotonic() < deadline:
        time.sleep(_CONNECT_LOOK)
    deadline, before = time.monotonic() + _FIRST_LOOK_SECONDS, None
    while connection.is_connected and before != (now := audience.peers()) and time.monotonic() < deadline:
        before = now
        time.sleep(_QUIET_SECONDS)


def _is_expected(connection: MqttConnection) -> bool:
    """Whether the broker may still answer, or confirm what we want to hear: what is retained comes with that."""
    return connection.is_subscribing if connection.is_connected else connection.state().endswith(": connecting")


def _table(connection: MqttConnection, audience: Subscriber) -> Table:
    seen, bad = audience.peers(), sum(audience.bad.values())
    title = f"{connection.name} {connection.state()}  {counted(len(seen), 'peer')}"
    title += f"  {counted(bad, 'bad payload')}" if bad else ""
    columns = ["peer", "swarm", "key", "status", "role", "version"]
    columns += [">steps", ">loss", ">accuracy", ">peers", ">score", ">heard", ">out", ">in"]
    rows = [_row(each) for each in seen]
    return fitting(shedding(title, columns, rows, ["version", "key", "swarm", "role", "in", "out", "peers", "score"]))


def _row(seen: Seen) -> list[str | Text]:
    status = _UNWRITABLE if seen.unwritable and seen.status == ONLINE.decode() else seen.status
    age = max(0, time.time_ns() // 1_000_000 - seen.heard) / 1000
    return [
        seen.name,
        short_cid(seen.swarm),
        seen.peer[:8],
        Text(status, _COLORS.get(status, "")),
        seen.role,
        seen.version,
        f"{seen.steps:,}",
        _number(seen.loss),
        _number(seen.accuracy),
        str(seen.peers),
        _number(seen.score),
        f"{age:.0f} s ago" if seen.heard else "-",
        human_bytes(seen.bytes_out),
        human_bytes(seen.bytes_in),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
