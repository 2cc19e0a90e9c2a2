"""Home Assistant's MQTT discovery: one retained message makes a peer a device with entities.

An entity is announced once it has had a value, so that none is "unknown" because this peer, or this model, has no such
thing. Its template says ``None`` where there is no value now, which empties the entity: at an empty text Home Assistant
would leave the old number. https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import learnae
from learnae.adapters.mqtt.monitor.disclosure import Judgement
from learnae.basics import strict_json

_MEASUREMENT, _TOTAL = "measurement", "total_increasing"
_SENSOR, _BINARY = "sensor", "binary_sensor"
# a state has at most 255 characters, and the text None is no value
_TEXT = "'none' if v == 'None' else v[:255]"


@dataclass(frozen=True, slots=True)
class _Sensor:
    """An entity; ``path`` leads to its value in ``state``, which ``form`` turns into Jinja's ``v``, never none."""

    key: str
    name: str
    path: tuple[str, ...]
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = _MEASUREMENT
    digits: int | None = None
    form: str = "v"
    platform: str = _SENSOR

    def value(self, state: object) -> object:
        """Return the value; None where there is none."""
        for name in self.path:
            state = state.get(name) if isinstance(state, Mapping) else None
        return state

    def template(self) -> str:
        """Return how Home Assistant finds the value."""
        *outer, last = self.path
        found = "value_json"
        for name in outer:
            found = f"({found}.{name} | default({{}}, true))"
        return f"{{% set v = {found}.{last} | default(none) %}}{{{{ none if v is none else {self.form} }}}}"


# four significant digits, never as 1e-05, of which Home Assistant shows no digit
_SIGNIFICANT = "('%.*f' | format([1, 3 - (('%.3e' | format(v)).split('e')[1] | int)] | max, v)).rstrip('0').rstrip('.')"
_DISK = _Sensor("disk", "Disk", ("unwritable",), None, "problem", None, platform=_BINARY)
_DISK_TEMPLATE = "{{ 'ON' if value_json.unwritable else 'OFF' }}"
_SENSORS = (
    _Sensor("accuracy", "Accuracy", ("accuracy",), "%", digits=1, form="v * 100"),
    _Sensor("loss", "Loss", ("loss",), form=_SIGNIFICANT),
    _Sensor("r2", "R²", ("r2",), digits=3),
    _Sensor("mae", "Mean absolute error", ("mae",), form=_SIGNIFICANT),
    _Sensor("steps", "Steps", ("steps",), state_class=_TOTAL),
    _Sensor("epsilon", "Privacy spent (epsilon)", ("privacy", "epsilon"), digits=2),
    _Sensor("peers", "Peers", ("peers",)),
    _Sensor("buffer", "Buffer", ("buffer", "readings"), "readings"),
)
_SCORE = ("inference", "score")
_JUDGED = {
    Judgement.CLASS: (
        _Sensor("label", "Class", ("inference", "label"), state_class=None, form=_TEXT),
        _Sensor("probability", "Probability", _SCORE, "%", digits=1, form="v * 100"),
    ),
    Judgement.VALUE: (_Sensor("value", "Value", _SCORE, form=_SIGNIFICANT),),
    Judgement.FORECAST: (_Sensor("forecast", "Forecast", _SCORE, form=_SIGNIFICANT),),
    Judgement.ANOMALY: (
        _Sensor("anomaly", "Anomaly score", _SCORE, form=_SIGNIFICANT),
        _Sensor("threshold", "Anomaly threshold", ("inference", "threshold"), form=_SIGNIFICANT),
        _Sensor(
            "anomalous",
            "Anomaly",
            ("inference", "anomaly"),
            device_class="problem",
            state_class=None,
            form="'ON' if v else 'OFF'",
            platform=_BINARY,
        ),
    ),
}


def birth_topic(prefix: str) -> str:
    """Return where Home Assistant says "online" when it has started, and needs every announcement again."""
    return f"{prefix}/status"


def config_topic(prefix: str, peer: str) -> str:
    """Return where the peer's announcement is retained; an empty payload removes it."""
    return f"{prefix}/device/{_device(peer)}/config"


def with_values(state: Mapping[str, Any], judgement: Judgement) -> set[str]:
    """Return the keys of the entities that have a value in ``state``."""
    return {sensor.key for sensor in (*_SENSORS, *_JUDGED[judgement]) if sensor.value(state) is not None}


def announcement(
    state: Mapping[str, Any], state_topic: str, status_topic: str, judgement: Judgement, keys: Iterable[str]
) -> bytes:
    """Return the device of a peer with the entities of ``keys``; its ``state`` and ``status`` are on these topics."""
    device, known = _device(state["peer"]), set(keys)
    sensors = [sensor for sensor in (*_SENSORS, *_JUDGED[judgement]) if sensor.key in known]
    fields = {
        "dev": {
            "ids": [device],
            "name": f"Learnae {state['shown']}",
            "mf": "Learnae",
            "sn": state["peer"],
            "mdl": state["role"],
            "sw": state["software"],
        },
        "o": {"name": "learnae", "sw": learnae.__version__},
        "cmps": {
            _DISK.key: _component(device, _DISK, _DISK_TEMPLATE),
            **{sensor.key: _component(device, sensor, sensor.template()) for sensor in sensors},
        },
        "state_topic": state_topic,
        "availability": [{"topic": status_topic}],
        "qos": 1,
    }
    return strict_json.dumps(fields).encode()


def _component(device: str, sensor: _Sensor, template: str) -> dict[str, Any]:
    fields = {
        "p": sensor.platform,
        "unique_id": f"{device}_{sensor.key}",
        "name": sensor.name,
        "value_template": template,
        "state_class": sensor.state_class,
        "unit_of_measurement": sensor.unit,
        "device_class": sensor.device_class,
        "suggested_display_precision": sensor.digits,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _device(peer: str) -> str:
    return f"learnae_{peer[:16]}"  # 80 bits of the key: enough to tell peers apart, short enough to read
