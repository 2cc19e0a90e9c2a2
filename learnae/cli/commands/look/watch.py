"""``learnae watch``: a live table of a swarm, from this machine or over a broker."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import count
from typing import Any

from rich.table import Table
from rich.text import Text

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.monitor.sealed_payloads import open_payload
from learnae.adapters.mqtt.monitor.subscriber import Seen, Subscriber, check_meeting
from learnae.adapters.mqtt.topics import ONLINE
from learnae.basics import strict_json
from learnae.basics.peer_names import harmless, told_apart
from learnae.cli.commands.look.peers import peer_fields, swarm_table
from learnae.cli.live_display import live_view
from learnae.cli.output import (
    Cell,
    PeerName,
    console,
    fitting,
    human_bytes,
    shedding,
    short_cid,
)
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError, EncodingError, TransportError, UnknownEpochError
from learnae.membership.viewer_key import ViewerKey
from learnae.protocol.identity import author_of_name
from learnae.reports.peer_columns import epsilon_column, score_columns
from learnae.runtime.admission.viewing import sealed_views
from learnae.runtime.observer import PeerView
from learnae.system.signals import held_back
from learnae.text import counted, decimal, significant

_CONNECT_SECONDS = 10.0  # a broker that has not answered by then is not there
_CONNECT_POLL_SECONDS = 0.02
_QUIET_SECONDS, _RETAINED_SECONDS = 0.5, 3.0  # retained values come at once: after a pause all are here
_UNWRITABLE = "cannot save"  # online, and publishing nothing: its disk is full or read-only
_HELD_BACK = "held back"  # online, and publishing no update: --json says why
_COLORS = {"online": "green", "offline": "red", _UNWRITABLE: "red", _HELD_BACK: "yellow"}


def watch(options: argparse.Namespace) -> int:
    """Show a live table until interrupted; with --json, one line an interval."""
    if options.broker:
        return _watch_broker(options)
    observer = observe(choose_swarm(options.swarm).directory)

    def peers() -> list[PeerView]:
        observer.refresh()
        return observer.peers()

    _look(options, lambda: peer_fields(observer, peers()), lambda: swarm_table(observer, peers()))
    return 0


def _look(
    options: argparse.Namespace, peers: Callable[[], Sequence[Mapping[str, Any]]], draw: Callable[[], Table]
) -> None:
    """Show the fields of all ``peers`` every ``options.every`` seconds, ``options.rounds`` times (0: until Ctrl-C)."""
    view = live_view(console) if console.is_interactive and not options.json else nullcontext(console.print)
    with suppress(KeyboardInterrupt), held_back() as pause, view as show:
        for rounds in count(1):
            if options.json:
                print(strict_json.dumps(peers()), flush=True)
            else:
                show(draw())
            if rounds == options.rounds:
                break
            pause(options.every)


def _watch_broker(options: argparse.Namespace) -> int:
    """Show a swarm as its topics show it, on any machine that reaches the broker."""
    names = ("broker", "user", "password_file", "ca_file", "cert_file", "key_file", "client_id", "prefix")
    section = MqttSection(**{name: getattr(options, name) for name in names})
    views = sealed_views(options.viewer_key)
    connection = MqttConnection(section)
    meeting = _meeting(options.swarm, views) if options.swarm else "+"
    subscriber = Subscriber(connection, section.prefix, meeting, unseal=partial(_unsealed, views))
    connection.start()
    try:
        wait_for_retained(connection, subscriber)
        _look(
            options, lambda: list(map(dataclasses.asdict, subscriber.peers())), lambda: _table(connection, subscriber)
        )
        if options.rounds and not connection.is_connected:  # what was shown is nothing, or old
            raise TransportError(
                f"MQTT broker {connection.name} is {connection.state()}", "check --broker, and the broker"
            )
        return 0
    finally:
        connection.close()


def _meeting(text: str, views: Mapping[str, ViewerKey]) -> str:
    """Return where the swarm of that id meets, as topics name it; raises ConfigurationError."""
    try:
        check_meeting(text)
    except EncodingError as error:
        raise ConfigurationError(
            f"--swarm: {error.problem}", "give the swarm's id, as `swarm create` prints it, or its place in the topics"
        ) from error
    return next((meeting for meeting, view in views.items() if str(view.swarm) == text), text)


def _unsealed(views: Mapping[str, ViewerKey], meeting: str, peer: str, channel: str, payload: bytes) -> bytes | None:
    """Open what a peer shows; None if there is no key for it here. Raises PeerError."""
    view = views.get(meeting)
    try:
        return open_payload(view, author_of_name(peer), channel, payload) if view else None
    except UnknownEpochError:
        return None


def wait_for_retained(
    connection: MqttConnection,
    subscriber: Subscriber,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the broker has confirmed the subscription and sent what it retains, a bounded time."""
    deadline = now() + _CONNECT_SECONDS
    while _is_expected(connection) and now() < deadline:
        sleep(_CONNECT_POLL_SECONDS)
    deadline, before = now() + _RETAINED_SECONDS, None
    while connection.is_connected and before != (peers := subscriber.peers()) and now() < deadline:
        before = peers
        sleep(_QUIET_SECONDS)


def _is_expected(connection: MqttConnection) -> bool:
    """Return True while the broker may still answer, or confirm the subscription: retained values follow that."""
    return connection.is_subscribing if connection.is_connected else connection.state().endswith(": connecting")


def _table(connection: MqttConnection, subscriber: Subscriber) -> Table:
    seen, bad = subscriber.peers(), sum(subscriber.bad.values())
    title = f"{connection.name} {connection.state()}  {counted(len(seen), 'peer')}"
    title += f"  {counted(bad, 'bad payload')}" if bad else ""
    if sealed := sum(each.sealed for each in seen):
        title += f"  {sealed} sealed: give --viewer-key"
    columns = ["peer", "swarm", "key", "status", "role", "version"]
    scores, scored = score_columns([(each.accuracy, each.r2, each.mae) for each in seen])
    privacy, spent = epsilon_column([each.epsilon for each in seen])
    columns += [">steps", ">loss", *scores, *privacy, ">peers", ">result", ">heard", ">out", ">in"]
    shown = told_apart({each.peer + each.swarm: each.name for each in seen})
    figures = [[*scores_of, *epsilon] for scores_of, epsilon in zip(scored, spent, strict=True)]
    rows = [_row(each, shown[each.peer + each.swarm], of_it) for each, of_it in zip(seen, figures, strict=True)]
    return fitting(shedding(title, columns, rows, ["version", "key", "swarm", "role", "in", "out", "peers", "result"]))


def _row(seen: Seen, shown: str, figures: Sequence[str]) -> list[Cell]:
    status = seen.status
    if status == ONLINE.decode():
        status = _UNWRITABLE if seen.unwritable else _HELD_BACK if seen.held_back else status
    age = max(0, time.time_ns() // 1_000_000 - seen.heard) / 1000
    return [
        PeerName(shown),
        short_cid(seen.swarm),
        seen.peer[:8],
        Text(status, _COLORS.get(status, "")),
        seen.role,
        seen.version,
        f"{seen.steps:,}",
        significant(seen.loss),
        *figures,
        str(seen.peers),
        _result(seen),
        f"{age:.0f} s ago" if seen.heard else "-",
        human_bytes(seen.bytes_out),
        human_bytes(seen.bytes_in),
    ]


def _result(seen: Seen) -> Text:
    """Return what the model says of the newest window: a class and its probability, an anomaly, or a number."""
    if seen.anomaly:
        return Text("ANOMALY" if seen.score is None else f"ANOMALY {significant(seen.score)}", "red")
    if seen.anomaly is not None and seen.score is None:
        return Text("normal")
    return Text(significant(seen.score) if seen.label is None else f"{harmless(seen.label)} {decimal(seen.score)}")
