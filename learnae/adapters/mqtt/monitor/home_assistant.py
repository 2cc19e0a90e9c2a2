"""Home Assistant's MQTT discovery: one retained message makes a peer a device with entities.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import learnae

BIRTH_TOPIC = "homeassistant/status"  # "online" on it: Home Assistant has started, and needs every announcement again
_MEASUREMENT, _TOTAL = "measurement", "total_increasing"
_SENSOR, _BINARY = "sensor", "binary_sensor"
_BUFFER, _INFERENCE = "(value_json.buffer | default({}))", "(value_json.inference | default({}))"  # trainers have none


@dataclass(frozen=True, slots=True)
class _Sensor:
    """An entity; ``value`` is a Jinja expression over the fields of ``state``."""

    key: str
    name: str
    value: str
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = _MEASUREMENT
    digits: int | None = None
    platform: str = _SENSOR


_PROBLEM = "'ON' if value_json.unwritable else 'OFF'"
_SENSORS = (
    _Sensor("disk", "Disk", _PROBLEM, device_class="problem", state_class=None, platform=_BINARY),
    _Sensor("accuracy", "Accuracy", "value_json.accuracy * 100 if value_json.accuracy is not none", "%", digits=1),
    _Sensor("loss", "Loss", "value_json.loss", digits=3),
    _Sensor("steps", "Steps", "value_json.steps", state_class=_TOTAL),
    _Sensor("peers", "Peers", "value_json.peers"),
    _Sensor("buffer", "Buffer", f"{_BUFFER}.readings | default(none)", "readings"),
    _Sensor("anomaly", "Anomaly score", f"{_INFERENCE}.score | default(none)", digits=3),
    _Sensor("cpu_temperature", "CPU temperature", "value_json.cpu_temperature", "°C", "temperature", digits=1),
)


def config_topic(peer: str) -> str:
    """Return where the peer's announcement is retained; an empty payload removes it."""
    return f"homeassistant/device/{_device(peer)}/config"


def announcement(status: Mapping[str, Any], state_topic: str, status_topic: str) -> bytes:
    """Return the device of a peer whose ``state`` and ``status`` are published on these topics."""
    device, name, role = _device(status["peer"]), status["name"], status["role"]
    fields = {
        "dev": {"ids": [device], "name": f"Learnae {name}", "mf": "Learnae", "mdl": role, "sw": status["software"]},
        "o": {"name": "learnae", "sw": learnae.__version__},
        "cmps": {sensor.key: _component(device, sensor) for sensor in _SENSORS},
        "state_topic": state_topic,
        "availability": [{"topic": status_topic}],
        "qos": 1,
    }
    return json.dumps(fields).encode()


def _component(device: str, sensor: _Sensor) -> dict[str, Any]:
    fields = {
        "p": sensor.platform,
        "unique_id": f"{device}_{sensor.key}",
        "name": sensor.name,
        "value_template": f"{{{{ {sensor.value} }}}}",
        "state_class": sensor.state_class,
        "unit_of_measurement": sensor.unit,
        "device_class": sensor.device_class,
        "suggested_display_precision": sensor.digits,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _device(peer: str) -> str:
    return f"learnae_{peer[:16]}"  # 80 bits of the key: enough to tell peers apart, short enough to read
