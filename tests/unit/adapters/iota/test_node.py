"""pyota on today's Pythons, and nodes that answer anything."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from learnae.adapters.iota import node as iota_client
from learnae.adapters.iota import pyota
from learnae.adapters.iota.node import MESSAGE_BYTES, NULL, Node
from learnae.adapters.iota.pyota import INSTALL_PYOTA, decode, integer, trytes_of
from learnae.errors import ConfigurationError, EncodingError, TransportError
from learnae.system.installation import how_to_install

ROOT = Path(__file__).parents[4]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


# -- the stand-in


@pytest.mark.parametrize("before", ["", "import pkg_resources"])
def test_pyota_is_imported_and_pkg_resources_is_as_it_was(before):
    done = python(
        "import sys, warnings; warnings.simplefilter('error')\n"
        "try:\n    " + (before or "pass") + "\nexcept (ImportError, UserWarning, DeprecationWarning):\n    pass\n"
        "was = sys.modules.get('pkg_resources')\n"
        "from learnae.adapters.iota.pyota import load\n"
        "assert load().Iota and load().__version__ == '2.1.0'\n"
        "assert sys.modules.get('pkg_resources') is was\n"
    )
    assert done.returncode == 0, done.stderr


def test_without_pyota_both_lines_of_the_remedy_are_said():
    done = python(
        "import sys; sys.modules['filters'] = None\n"
        "from learnae.adapters.iota.pyota import load\n"
        "from learnae.errors import ConfigurationError\n"
        "try:\n    load()\n"
        "except ConfigurationError as error:\n    print(error)\n"
        "assert 'pkg_resources' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr
    assert f"{how_to_install('iota')} && {INSTALL_PYOTA}" in done.stdout


def test_the_library_needs_no_pyota_until_a_node_is_configured():
    done = python(
        "import sys, learnae.runtime.links.connect, learnae.cli.main; "
        "assert not {'iota', 'filters', 'requests'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


# -- numbers and bytes


@pytest.mark.parametrize("number", [0, 1, 13, 14, -1, 27, 1_795_569_000, 3**26])
def test_numbers_are_as_pyota_writes_them(number):
    iota = pyota.load()
    assert integer(str(iota.TryteString.from_trits(iota.trits.trits_from_int(number, pad=81)))) == number


def test_bytes_survive_and_what_are_none_is_refused():
    data = bytes(range(256)) * 4
    assert decode(str(pyota.load().TryteString.from_bytes(data))) == data
    with pytest.raises(EncodingError):
        decode("ZZ")


def test_digests_give_trytes_evenly():
    assert trytes_of(b"\x00" * 64, 81) == NULL
    assert trytes_of((27**3 + 2).to_bytes(8), 5) == "B99A9"


def test_a_transaction_is_as_large_as_it_may_be():
    node = Node("http://127.0.0.1:1")
    assert len(node.propose(b"\xff" * MESSAGE_BYTES, "A" * 27, NULL)) == 2673
    with pytest.raises(EncodingError):
        node.propose(b"\xff" * (MESSAGE_BYTES + 1), "A" * 27, NULL)


@pytest.mark.parametrize("tag", ["9" * 27, "A" + "9" * 26, trytes_of(b"\x07" * 64, 27)])
def test_a_proposal_is_a_bundle_that_pyota_takes_for_valid(tag):
    iota = pyota.load()
    trytes = Node("http://127.0.0.1:1").propose(b"message", tag, NULL)
    parsed = iota.Transaction.from_tryte_string(trytes)
    assert iota.BundleValidator(iota.Bundle([parsed])).is_valid()
    assert (str(parsed.tag), parsed.value, abs(parsed.timestamp - time.time()) < 60) == (tag, 0, True)


# -- nodes that answer anything


@contextmanager
def answering(status: int, *chunks: bytes) -> Iterator[str]:
    """A server that gives everybody this answer, chunk by chunk."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(chunk)
                    self.wfile.flush()
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


CALLS = {
    "info": lambda node: node.info(),
    "find": lambda node: node.find_tag("A" * 27),
    "approvers": lambda node: node.find_approvers([NULL]),
    "read": lambda node: node.read([NULL]),
    "confirmed": lambda node: node.confirmed([NULL]),
    "attach": lambda node: node.attach("9" * 2673),
    "mwm": lambda node: node.mwm(),
}
WRONG = {
    "nothing": b"",
    "no JSON": b"<html>",
    "a list": b"[]",
    "an empty map": b"{}",
    "nulls": b'{"hashes": null, "trytes": null, "states": null, "latestMilestoneIndex": null}',
    "numbers": b'{"hashes": 1, "trytes": 1, "states": 1, "time": "x", "latestMilestone": 5}',
    "strings": b'{"hashes": ["!"], "trytes": ["!"], "states": ["!"], "trunkTransaction": "!", "branchTransaction": 7}',
    "short": b'{"hashes": ["A"], "trytes": ["A"], "states": [], "trunkTransaction": "A", "branchTransaction": "B"}',
    "deep": b'{"hashes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "latin": b"\xff\xfe{}",
}


AS_PYOTA_READS_IT = {  # nothing for no list; names that are too short are filled up
    *(("find", wrong) for wrong in ("an empty map", "nulls", "short")),
    *(("approvers", wrong) for wrong in ("an empty map", "nulls", "short")),
    ("attach", "short"),
}


@pytest.mark.parametrize(
    ("call", "wrong"), [pair for pair in itertools.product(CALLS, WRONG) if pair not in AS_PYOTA_READS_IT]
)
def test_a_wrong_answer_is_a_transport_error_that_names_the_node(call, wrong):
    with answering(200, WRONG[wrong]) as url:
        node = Node(url, mwm=0 if call == "mwm" else 1)
        with pytest.raises(TransportError, match=f"{url}|iota.mwm"):
            CALLS[call](node)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 500, 503])
def test_a_refusal_says_why(status):
    with (
        answering(status, b'{"error": "because", "exception": "because"}') as url,
        pytest.raises(TransportError, match="because"),
    ):
        Node(url).info()


def test_an_endless_answer_ends(monkeypatch):
    with answering(200, *[b" " * (1 << 20)] * 6) as url, pytest.raises(TransportError, match="does not end"):
        Node(url).info()
    seconds = itertools.count(step=3)  # pass between two looks at the clock, which are as many as there are pieces
    monkeypatch.setattr(iota_client, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with answering(200, *[b" " * 9000] * 6) as url, pytest.raises(TransportError, match=r"does not end \(\d{5} bytes"):
        Node(url).info()


def test_nobody_there_is_a_transport_error():
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:1"):
        Node("http://127.0.0.1:1").info()


@pytest.mark.parametrize("url", ["ftp://host", "http://", "nonsense", "http://host:port"])
def test_an_url_that_is_none_is_the_users_mistake(url):
    with pytest.raises(ConfigurationError):
        Node(url)


def test_the_weight_is_what_the_node_expects():
    said = json.dumps({"error": "Wrong MinWeightMagnitude. requested: 1, expected: 14"}).encode()
    with answering(400, said) as url:
        assert Node(url).mwm() == 14
        assert Node(url, mwm=3).mwm() == 3
    with pytest.raises(TransportError, match=r": Connection refused; check iota\.node, .*, or set iota\.mwm"):
        Node("http://127.0.0.1:1").mwm()  # and nothing of the libraries that have tried
    protected = json.dumps({"error": "command [attachToTangle] is protected"}).encode()
    with answering(403, protected) as url, pytest.raises(TransportError, match=r"protected.*iota\.mwm"):
        Node(url).mwm()
    absurd = json.dumps({"error": "Wrong MinWeightMagnitude. requested: 1, expected: 81"}).encode()
    with answering(400, absurd) as url, pytest.raises(TransportError):
        Node(url).mwm()
