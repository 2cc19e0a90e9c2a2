"""What a broker sees of an agent with differential privacy: what it has spent, and nothing that its rows change."""

import json
from pathlib import Path

import cbor2
import pytest
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain
from programs import Programs, wait_for

from demo.people import write_private_file
from learnae.runtime.private.shown import SHOWN

ADDED = {"cpu_temperature"}  # by the monitor, of the machine


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
def test_a_broker_sees_what_is_spent_and_nothing_of_rows(
    broker: Mosquitto, links: Links, programs: Programs, tmp_path: Path
) -> None:
    heard = Inbox(links.open(plain(broker)), "learnae/#")
    programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--epsilon", 4, "--membership", "open")
    write_private_file(1, tmp_path / "person.npz")
    programs.answer("learnae", "join", "--role", "agent", "--data", tmp_path / "person.npz")
    section = {"BROKER": plain(broker).broker, "HOME_ASSISTANT": "true"}
    environment = {f"LEARNAE_MQTT__{key}": value for key, value in section.items()}
    environment |= {"LEARNAE_SOURCE__SPEED": "0", "LEARNAE_PUBLISH__EVERY": "1", "LEARNAE_PRIVACY__INFERENCE": "score"}
    agent = programs.start("agent", "run", environment=environment)
    wait_for(lambda: (programs.status("agent").get("privacy") or {}).get("releases", 0) >= 8, "two updates")
    agent.stop()
    heard.newest("status", lambda payload: payload == b"offline")  # after all else
    status = programs.status("agent")
    assert status["accuracy"] is not None
    assert status["inference"]["count"] > 0
    states = [json.loads(payload) for payload in heard.payloads("state") if payload]
    metrics = [cbor2.loads(payload) for payload in heard.payloads("metrics")]
    assert states[-1]["privacy"]["releases"] >= 8
    assert {key for each in (*states, *metrics) for key in each} <= SHOWN | ADDED
    assert heard.payloads("inference") == []
