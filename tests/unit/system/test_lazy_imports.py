"""What an agent imports later or never, and that it is all there once it is needed."""

import importlib
import sys
from pathlib import Path

import pytest
from programs import clean_environment, succeed

from learnae.system.lazy_imports import without

# as the entry point does it, then all that an agent with MQTT and TFLite imports
AGENT = """
from agent.start import keep_small
keep_small()
keep_small()
import sys, agent.cli, agent.learning.tflite_learner, learnae.adapters.mqtt
from learnae.adapters.mqtt.client import make_client
from learnae.config.sections import MqttSection
make_client(MqttSection(broker="mqtt://localhost"), "", None)
"""
NEVER = """
import numpy
from pathlib import Path
from learnae.protocol.identity import Identity
path = Path(sys.argv[1]) / "key.pem"
Identity.load_or_create(path).sign(b"")
heavy = {"ssl", "_ssl", "_hashlib", "http.client", "email", "numpy.ma.core", "numpy.polynomial.polynomial",
         "numpy.fft._pocketfft", "cryptography.hazmat.primitives.serialization", "difflib", "rich", "typer", "dns"}
heavy |= {"dis", "_pickle"} if numpy.__version__ < "2" else set()
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
LATER = """
import hashlib, hmac, http.client, numpy, socket, ssl, urllib.request
assert http.client.HTTPSConnection and ssl.SSLContext and urllib.request.Request("http://localhost/").host
assert numpy.ma.masked_array([1.0, 2.0], [True, False]).sum() == 2
assert numpy.polynomial.Polynomial([1, 1])(2) == 3 and abs(numpy.fft.fft([1.0, 1.0])[0] - 2) < 1e-9
assert numpy.ctypeslib.as_array
import inspect, pickle
assert inspect.signature(len) and pickle.loads(pickle.dumps(numpy.ones(2))).sum() == 2
assert hashlib.sha256(b"").hexdigest()[:8] == hashlib.new("sha256").hexdigest()[:8] == "e3b0c442"
assert hmac.new(b"key", b"", "sha256").hexdigest()[:8] == "5d5d1395"
assert hmac.compare_digest(b"a", b"a") and not hmac.compare_digest("a", "b")
import _hashlib
"""
WITHOUT_TLS = """
import socket
import paho.mqtt.client as paho
client, _ = make_client(MqttSection(broker="mqtt://localhost"), "", None)
near, far = socket.socketpair()
near.setblocking(False)
client._sock = near
try:
    client._sock_recv(1)
except BlockingIOError:
    pass
far.close()
assert client._sock_recv(1) == b""
near.close()
client._sock = None
"""
THEN_TLS = """
import ssl
client, _ = make_client(MqttSection(broker="mqtts://localhost"), "", None)
assert client._ssl_context.check_hostname and paho.ssl is ssl
"""
ELSEWHERE = """
from learnae.adapters.mqtt.client import make_client
from learnae.config.sections import MqttSection
make_client(MqttSection(broker="mqtt://localhost"), "", None)
from http.client import HTTPSConnection
import paho.mqtt.client, ssl
assert paho.mqtt.client.ssl is ssl
"""


def run(program: str, directory: Path) -> None:
    succeed(sys.executable, "-c", program, directory, env=clean_environment())


@pytest.mark.modules("paho", "flatbuffers")
@pytest.mark.parametrize("then", [NEVER, LATER, WITHOUT_TLS + THEN_TLS], ids=["never", "later", "tls"])
def test_an_agent_leaves_out_what_it_does_not_use_and_has_it_when_it_does(then: str, tmp_path: Path) -> None:
    run(AGENT + then, tmp_path)


@pytest.mark.modules("paho")
def test_outside_an_agent_nothing_loses_its_tls(tmp_path: Path) -> None:
    run(ELSEWHERE, tmp_path)


def test_hidden_modules_come_back_and_loaded_ones_stay() -> None:
    sys.modules.pop("this", None)
    with without("this", "json"):
        assert importlib.import_module("json")
        with pytest.raises(ImportError):
            importlib.import_module("this")
    assert "this" not in sys.modules
    assert "json" in sys.modules
