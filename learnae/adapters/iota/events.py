"""The ZMQ stream of a node: announces at once what polling would find a little later. Messages may get lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from learnae.errors import ConfigurationError

_log = logging.getLogger(__name__)

_TOPIC = "tx"  # every transaction that the node takes in; its tag is one of the words
_POLL = 500  # ms: how soon a closed stream ends its thread
_BYTES = 4096  # a message of this topic has below 700


class Events:
    """Calls ``wake`` for every new transaction with the tag that ``tag`` gives now."""

    def __init__(self, url: str, tag: Callable[[], str], wake: Callable[[], None]) -> None:
        """Connect to ``url``; raises ConfigurationError if it is none, or without pyzmq."""
        try:
            import zmq  # noqa: PLC0415 - optional
        except ImportError as error:
            raise ConfigurationError("pyzmq is not installed", "pip install pyzmq, or leave iota.events out") from error
        self._socket: Any = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _BYTES)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, _TOPIC + " ")
        try:
            self._socket.connect(url)
        except zmq.ZMQError as error:
            raise ConfigurationError(f"iota.events is {url!r}: {error}", "use tcp://HOST:5556") from error
        self._tag, self._wake = tag, wake
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="iota-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join(2 * _POLL / 1000)

    def _run(self) -> None:
        with self._socket as socket:
            while not self._closing.is_set():
                if socket.poll(_POLL) and self._tag().encode() in b" ".join(socket.recv_multipart()).split(b" "):
                    _log.debug("a transaction with this swarm's tag")
                    self._wake()
