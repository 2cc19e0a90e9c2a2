"""From configuration to the adapters that cross this machine's border: the one list of them."""

from __future__ import annotations

from typing import Protocol

from learnae.adapters.machine import Place
from learnae.adapters.outside import Outside
from learnae.sections import MqttSection


class Connections(Protocol):
    """The sections of a role's configuration that name other machines."""

    @property
    def mqtt(self) -> MqttSection:
        """``[mqtt]``."""


def connect(config: Connections, place: Place) -> Outside:
    """Everything configured, not yet reachable perhaps; raises ConfigurationError.

    Nothing here waits for a network: a peer works alone until the first link is there.
    """
    outside = Outside()
    if config.mqtt.broker:
        from learnae.adapters.mqtt import connect_mqtt  # noqa: PLC0415 - an extra

        connect_mqtt(config.mqtt, place, outside)
    return outside
