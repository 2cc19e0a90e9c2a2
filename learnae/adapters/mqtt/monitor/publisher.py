"""ports.Monitor over MQTT: people, dashboards and Home Assistant see the peer (docs/mqtt.md).

``status`` and ``state`` are retained and only the newest counts. ``metrics``, ``inference`` and ``log`` are
events: a queue on disk holds them until the broker has acknowledged them, so that each arrives at least once. All but
``status`` may be sealed, when it is sent.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2

import learnae
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.monitor import home_assistant
from learnae.adapters.mqtt.monitor.disclosure import Disclosure
from learnae.adapters.mqtt.monitor.outbox import Outbox, Queued
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import BYTES, CBOR, JSON, OFFLINE, ONLINE, Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics import strict_json
from learnae.basics.overriding import override
from learnae.errors import StateError
from learnae.ports import Inference, Monitor
from learnae.system.atomic_files import writing

_log = logging.getLogger(__name__)

_STATE_SECONDS = 2.0  # people do not read faster
_METRICS_SECONDS = 10.0  # a curve over days needs no more
_BATCH = 64  # rows on their way at once
_MOST_RESULTS = 256  # of one call; a board's windows are far fewer
_RETRY_SECONDS = 0.1  # until there may be room in the connection's queue
_WARNING_SECONDS = 600.0  # between two warnings: a full disk stays full
_FAREWELL_SECONDS = 2.0  # for what waits when the peer leaves; the rest stays on disk
Seal = Callable[[str, bytes], bytes | None]  # a channel and a payload; None while there is no secret to seal with
_CONTENT_TYPES = {"metrics": CBOR, "inference": JSON, "log": JSON}
_MARKER = "home-assistant"  # a file that holds the topic of an announcement that there may be
_LIBRARY = Path(learnae.__file__).parent
_READERS = tuple(_LIBRARY / name for name in ("samples", "tables"))  # of raw data, though they are of the library
_BURST, _SECONDS_EACH = 20.0, 5.0  # so many records at once, then one in so many seconds
_TEXT_CHARACTERS = 500
# as repr writes a text, and as others do
_QUOTED = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|'[^']*'|\"[^\"]*\""
_VALUES = re.compile(rf"{_QUOTED}|[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")


class RemoteLog(logging.Handler):
    """Hands ``{time, level, text}`` to ``send``; records that come faster are counted, and the next says how many.

    It handles every logger's records. Modules outside the package ``learnae``, and its readers of files, handle raw
    readings, and may quote one in a warning: quoted texts and numbers in their records are blanked. The file of the
    call decides, not the logger's name. ``monotonic`` tells seconds.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._send = send
        self._bucket = TokenBucket(_BURST, 1 / _SECONDS_EACH, monotonic)
        self._held_back = 0
        self._is_busy = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, unless sending one has caused it."""
        if self._is_busy:
            return
        if not self._bucket.take():
            self._held_back += 1
            return
        self._is_busy = True
        try:
            self._send(self._fields(record))
        finally:
            self._is_busy = False

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        text = record.getMessage()
        path = Path(record.pathname)
        if not path.is_relative_to(_LIBRARY) or any(map(path.is_relative_to, _READERS)):
            text = _VALUES.sub("…", text)
        held_back, self._held_back = self._held_back, 0
        said = {"time": int(record.created * 1000), "level": record.levelname.lower(), "text": text[:_TEXT_CHARACTERS]}
        return {**said, "held_back": held_back} if held_back else said


@dataclass(eq=False)
class MqttMonitor(Monitor):
    """Shows one peer on the broker of ``connection``; ``directory`` is the peer's own.

    ``announces`` makes the peer a device of Home Assistant, which listens below ``discovery_prefix``; without it, or
    with another prefix, an earlier announcement goes. ``disclosure`` says what is shown. ``seal`` makes the payloads
    readable for some only; without it, they are for all.
    """

    connection: MqttConnection
    topics: Topics
    queue: Outbox
    directory: Path
    announces: bool = False
    discovery_prefix: str = "homeassistant"
    disclosure: Disclosure = Disclosure()
    seal: Seal | None = None
    state_seconds: float = _STATE_SECONDS
    metrics_seconds: float = _METRICS_SECONDS

    def __post_init__(self) -> None:
        self._marker = self.directory / _MARKER
        self._discovery = home_assistant.config_topic(self.discovery_prefix, self.topics.peer)
        self._announced: set[str] = set()  # entities
        self._announced_as: str | None = None  # its name
        self._announcement = b""
        self._reported = self._measured = self._warned = float("-inf")
        self._newest: dict[str, Any] | None = None
        self._lost = 0
        self._wake = threading.Event()
        self._wake.set()  # for what waits since the last start, if the broker is there already
        self._closing = threading.Event()
        self._log = RemoteLog(lambda fields: self._put("log", _json(fields)))
        logging.getLogger().addHandler(self._log)
        self.connection.keep(self.topics.own("status"), ONLINE)
        self.connection.greet(self._wake.set)
        remove_announcement(self.connection, self._marker, self.topics.peer, self._discovery if self.announces else "")
        if self.announces:
            self.connection.subscribe(home_assistant.birth_topic(self.discovery_prefix), self._on_birth)
        self._thread = threading.Thread(target=self._run, name="mqtt monitor", daemon=True)
        self._thread.start()

    # -- ports.Monitor

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        """Publish ``state`` at most every two seconds, ``metrics`` every ten."""
        now = time.monotonic()
        if now - self._reported >= self.state_seconds:
            self._reported = now
            self._show(status)
        if now - self._measured >= self.metrics_seconds:
            self._measured = now
            self._put("metrics", cbor2.dumps(_numbers(self.disclosure.status(status))))

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        if not results:
            return
        shown = [fields for result in results[-_MOST_RESULTS:] if (fields := self.disclosure.of(result))]
        self._newest = shown[-1] if shown else None
        if shown:
            self._put("inference", _json({"results": shown}))

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        """Publish the last state; events that the broker does not take within two seconds stay on disk."""
        if self._closing.is_set():
            return
        logging.getLogger().removeHandler(self._log)
        self._show(status)
        self.connection.keep(self.topics.own("status"), OFFLINE)
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while self.connection.is_connected and self.queue.rows and time.monotonic() < deadline:
            time.sleep(0.01)
        self._closing.set()
        self._wake.set()
        self._thread.join(_FAREWELL_SECONDS)
        self.queue.close()

    def state(self) -> str:
        """Return what the status says of the queue."""
        dropped = f", {self.queue.dropped} dropped: the queue is full" if self.queue.dropped else ""
        lost = f", {self._lost} lost: they could not be written" if self._lost else ""
        return f"{self.queue.rows} waiting{dropped}{lost}"

    # -- newest values

    def _show(self, status: Mapping[str, Any]) -> None:
        fields = self.disclosure.status(status)
        if self._newest is not None:
            fields["inference"] = {**fields.get("inference", {}), **self._newest}
        fields = strict_json.finite(fields)
        if self.announces:
            self._announce(fields)
        payload = self._sealed("state", _json(fields))
        if payload is not None:
            self.connection.keep(self.topics.own("state"), payload, BYTES if self.seal else JSON)

    def _sealed(self, channel: str, payload: bytes) -> bytes | None:
        return self.seal(channel, payload) if self.seal else payload

    def _announce(self, state: Mapping[str, Any]) -> None:
        """Announce the device at first, and whenever one more of its entities has a value or its name is another."""
        found = home_assistant.with_values(state, self.disclosure.judgement)
        if self._announced_as == state["shown"] and found <= self._announced:
            return
        try:
            with writing(self._marker):
                self._marker.write_text(self._discovery)
        except StateError as error:  # an announcement without a marker would stay for ever
            self._warn(error)
            return
        own, self._announced, self._announced_as = self.topics.own, self._announced | found, state["shown"]
        self._announcement = home_assistant.announcement(
            state, own("state"), own("status"), self.disclosure.judgement, self._announced
        )
        self.connection.keep(self._discovery, self._announcement, JSON)

    def _on_birth(self, received: Received) -> None:
        if received.payload == ONLINE and self._announcement:
            self.connection.publish(self._discovery, self._announcement, retain=True, content_type=JSON)

    # -- events

    def _put(self, channel: str, payload: bytes) -> None:
        try:
            self.queue.put(channel, payload)
        except StateError as error:  # training goes on
            self._lost += 1
            self._warn(error)
        else:
            self._wake.set()

    def _warn(self, error: StateError) -> None:
        """Log an error of the disk now and then."""
        now = time.monotonic()
        if now - self._warned >= _WARNING_SECONDS:
            self._warned = now
            _log.warning("the MQTT monitor: %s", error)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._drain()
            except StateError as error:
                self._warn(error)
                self._closing.wait(_RETRY_SECONDS)

    def _drain(self) -> None:
        while self.connection.is_connected and not self._closing.is_set():
            batch = self.queue.oldest(_BATCH)
            if not batch:
                return
            settled = threading.Semaphore(0)
            for queued in batch:
                self._send(queued, settled)
            for _ in batch:
                while not settled.acquire(timeout=_RETRY_SECONDS):
                    if self._closing.is_set():  # they stay on disk, and are sent again at the next start
                        return
            self.queue.remove(batch)

    def _send(self, queued: Queued, settled: threading.Semaphore) -> None:
        topic = self.topics.own(queued.channel)
        kind = BYTES if self.seal else _CONTENT_TYPES.get(queued.channel, "")
        while (payload := self._sealed(queued.channel, queued.payload)) is None or not self.connection.publish(
            topic, payload, content_type=kind, done=lambda _: settled.release()
        ):
            if self._closing.wait(_RETRY_SECONDS):
                return


def stay_silent(connection: MqttConnection, topics: Topics, directory: Path) -> None:
    """Show nothing of a peer, and take back what an earlier start has shown; ``directory`` is the peer's own."""
    for channel in ("status", "state"):
        connection.keep(topics.own(channel), b"")
    remove_announcement(connection, directory / _MARKER, topics.peer)


def remove_announcement(connection: MqttConnection, marker: Path, peer: str, but: str = "") -> None:
    """Take back what an earlier start has announced to Home Assistant, unless it is on the topic ``but``."""
    if not marker.exists():
        return
    before = marker.read_text(errors="replace")
    if before == but:
        return
    if before.endswith(home_assistant.config_topic("", peer)) and not set("#+\0") & set(before):
        connection.keep(before, b"")
    marker.unlink()


def _json(fields: Mapping[str, Any]) -> bytes:
    return strict_json.dumps(fields, default=str).encode()


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be drawn as a curve: numbers, and maps of numbers."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            inner = _numbers(item)
            found.update({key: inner} if inner else {})
        elif isinstance(item, (int, float)):
            found[key] = strict_json.finite(item)
    return found
