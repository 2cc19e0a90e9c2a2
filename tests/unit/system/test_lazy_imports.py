"""What an agent imports later or never, and that it is all there once it is needed."""

import importlib
import sys
from pathlib import Path

import pytest
from programs import clean_environment, succeed

from learnae.system.lazy_imports import LazyFinder, waits, without

# as the entry point does it, then all that an agent with MQTT and TFLite imports
AGENT = """
from agent.start import keep_small
keep_small()
keep_small()
import sys, agent.running, agent.learning.tflite_learner, learnae.adapters.mqtt
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
heavy |= {"numpy.linalg._umath_linalg", "numpy._typing", "_uuid", "_bz2", "_lzma", "argparse", "decimal", "asyncio",
          "firmware_bridge", "learnae.samples.recordings", "learnae.dashboard"}
heavy |= {"dis", "_pickle", "_ast", "numpy.random._legacy"} if numpy.__version__ < "2" else set()
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
import bz2, locale, lzma, shutil, uuid
assert bz2.decompress(bz2.compress(b"a")) == lzma.decompress(lzma.compress(b"a")) == b"a"
assert uuid.uuid4().version == 4 and locale.getpreferredencoding and shutil.disk_usage("/").free
array = numpy.array([[4.0, 2.0], [2.0, 3.0]])
assert (numpy.linalg.solve(array, array @ [1.0, 2.0]).round(9) == [1, 2]).all()
assert (numpy.matrix(array) ** 2)[0, 0] == 20 and sorted(numpy.roots([1, -3, 2])) == [1, 2]
assert numpy.median([3.0, 1.0, 2.0]) == 2 and isinstance(numpy.random.RandomState(1), numpy.random.RandomState)
assert not isinstance(1, numpy.random.MT19937) and numpy.random.default_rng(numpy.random.MT19937(1)).random() < 1
generator = pickle.loads(pickle.dumps(numpy.random.Generator(numpy.random.Philox(1))))
assert type(generator.bit_generator).__name__ == "Philox"
from numpy.typing import ArrayLike, NDArray
assert NDArray[numpy.float64] | None
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

SLOW = """
import threading, time
time.sleep(0.2)
count = 1 + globals().get("count", 0)
def late(): return count + 1
"""
TOGETHER = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from learnae.system.lazy_imports import LazyFinder
sys.meta_path.insert(0, LazyFinder({"slow_to_run": ()}))
import slow_to_run, slow_to_run as again
found = []
threads = [threading.Thread(target=lambda: found.append(slow_to_run.late())) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*found)
"""
SAID = """
def said():
    "text"
    def inner():
        "more"
        return "kept"
    return inner
class Said:
    "kept"
comprehended = ["kept" for _ in range(1)]
"""
UNSAID = """
import sys
sys.path.insert(0, sys.argv[1])
from learnae.system.docstrings import keep_docstrings_out
keep_docstrings_out()
keep_docstrings_out()
import said
print(said.said.__doc__, said.said().__doc__, said.said()(), said.Said.__doc__, *said.comprehended)
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


def test_a_module_runs_once_whoever_needs_it_first(tmp_path: Path) -> None:
    (tmp_path / "slow_to_run.py").write_text(SLOW)
    assert set(succeed(sys.executable, "-c", TOGETHER, tmp_path).stdout.split()) == {"2"}


def test_a_late_module_that_fails_says_so_and_has_what_it_is_promised_to_have(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module")
    (tmp_path / "whole.py").write_text("def double(number): return 2 * number")
    sys.path.insert(0, str(tmp_path))
    finder = LazyFinder({"broken": (), "whole": ("double",)})
    sys.meta_path.insert(0, finder)
    try:
        broken, whole = (importlib.import_module(name) for name in ("broken", "whole"))
        early = whole.double
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError, match="no_such_module"):
                _ = broken.anything
        assert early(2) == 4
        assert whole.double is not early
        assert whole.double(3) == early(3) == 6
        with pytest.raises(AttributeError, match="module 'whole' has no attribute 'half'"):
            _ = whole.half
        assert not waits("numpy.none")
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(str(tmp_path))


def test_functions_lose_their_docstrings_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "said.py").write_text(SAID)
    assert succeed(sys.executable, "-c", UNSAID, tmp_path).stdout.split() == ["None", "None", "kept", "kept", "kept"]


def test_hidden_modules_come_back_and_loaded_ones_stay() -> None:
    sys.modules.pop("this", None)
    with without("this", "json"):
        assert importlib.import_module("json")
        with pytest.raises(ImportError):
            importlib.import_module("this")
    assert "this" not in sys.modules
    assert "json" in sys.modules
