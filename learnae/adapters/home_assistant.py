"""Home Assistant's MQTT discovery: one retained message makes a peer a device with entities.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import learnae

BIRTH_TOPIC = "homeassistant/status"  # says "online" when it has started and wants to hear everything again
_PRECISION = {"%": 1, "°C": 1}
_SENSORS = (
    # key, name, unit, device class, state class, template
    (
        "accuracy",
        "Accuracy",
        "%",
        None,
        "measurement",
        "{{ (value_json.accuracy * 100) if value_json.accuracy is not none }}",
    ),
    ("loss", "Loss", None, None, "measurement", "{{ value_json.loss }}"),
    ("steps", "Steps", None, None, "total_increasing", "{{ value_json.steps }}"),
    ("peers", "Peers", None, None, "measurement", "{{ value_json.peers }}"),
    ("buffer", "Buffer", "readings", None, "measurement", "{{ value_json.buffer.readings }}"),
    ("anomaly", "Anomaly score", None, None, "measurement", "{{ value_json.inference.score }}"),
    ("cpu_temperature", "CPU temperature", "°C", "temperature", "measurement", "{{ value_json.cpu_temperature }}"),
)


def config_topic(peer: str) -> str:
    """Where the peer's announcement is kept; an empty payload removes it."""
    return f"homeassistant/device/{_device(peer)}/config"


def announcement(status: Mapping[str, Any], state_topic: str, status_topic: str) -> bytes:
    """The device of a peer whose ``state`` and ``status`` are published there."""
    device = _device(status["peer"])
    fields = {
        "dev": {
            "ids": [device],
            "name": f"Learnae {status['name']}",
            "mf": "Learnae",
            "mdl": status["role"],
            "sw": status["software"],
        },
        "o": {"name": "learnae", "sw": learnae.__version__},
        "cmps": {key: _sensor(device, key, *rest) for key, *rest in _SENSORS},
        "state_topic": state_topic,
        "availability": [{"topic": status_topic}],
        "qos": 1,
    }
    return json.dumps(fields).encode()


def _sensor(
    device: str, key: str, name: str, unit: str | None, kind: str | None, state: str, template: str
) -> dict[str, Any]:
    fields = {
        "p": "sensor",
        "unique_id": f"{device}_{key}",
        "name": name,
        "value_template": template,
        "state_class": state,
        "unit_of_measurement": unit,
        "device_class": kind,
        "suggested_display_precision": _PRECISION.get(unit or ""),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _device(peer: str) -> str:
    return f"learnae_{peer[:16]}"  # 80 bits of the key: enough to tell peers apart, short enough to read
