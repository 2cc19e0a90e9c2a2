"""Notices another process that speaks as this peer, whether or not the broker says so (older Mosquittos do not).

A broker lets only one connection have a client id, so two processes with one key throw each other off. Each lets the
broker retain a word of its own: a process that is back and hears another word has had a rival meanwhile.
"""

import os

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics

_WORD_BYTES = 8


class Session:
    """Compares what is retained under ``…/<peer>/session`` with the word of this process."""

    def __init__(self, connection: MqttConnection, topics: Topics) -> None:
        self._connection = connection
        self._word = os.urandom(_WORD_BYTES)
        self._is_known = False  # to the broker: a word that was there before may be that of an earlier process
        connection.subscribe(topics.own("session"), self._on_word)
        connection.keep(topics.own("session"), self._word)

    def _on_word(self, received: Received) -> None:
        if received.payload == self._word:
            self._is_known = True
        elif self._is_known and received.payload:
            self._connection.contest()
