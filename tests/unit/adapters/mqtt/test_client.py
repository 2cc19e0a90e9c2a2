"""What importing paho costs, and what it must not change."""

import subprocess
import sys

import pytest
from programs import clean_environment

pytestmark = pytest.mark.modules("paho")

PROGRAM = """
import sys
from learnae.adapters.mqtt.client import make_client
from learnae.config.sections import MqttSection
assert "paho" not in sys.modules, "paho is an extra: nobody may load it before it is needed"
make_client(MqttSection(broker="mqtt://localhost"), "", None)
assert "paho.mqtt.client" in sys.modules
assert not [name for name in sys.modules if name.split(".")[0] == "dns"], "neither loaded nor hidden for ever"
"""


def test_paho_comes_when_it_is_needed_and_without_what_is_not():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
