"""What the page costs: memory and processor time of an agent without it, with it, and with a viewer; bytes and time.

The agent is that of the race ``agent``: the real program, with one sensor of six channels at 50 Hz, between two
updates. The browser is Chromium, where it is installed.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from bench.agent import configure, cpu_share, is_idle, judged, resident, running, sensor, status, wait_for
from bench.harness import AT_MOST, Race
from bench.rigs.processes import broker, rig, wait_until
from learnae.dashboard.address import PageAddress

_OWN_PYTHON = Path("build/venv-agent/bin/python")
_ASSETS = ("/", "/app.css", "/uplot.css", "/uplot.js", "/app.js", "/panels.js", "/icon.svg")
_PEERS = 8
_LOADED = (
    f"document.querySelectorAll('#peers tbody tr').length === {_PEERS} && !!document.querySelector('.plot canvas')"
)


def run(race: Race) -> None:
    """Measure the agent, and the page itself."""
    python, runtime = (str(_OWN_PYTHON), "tflite-runtime") if _OWN_PYTHON.exists() else (sys.executable, "LiteRT")
    most = 62.0 if runtime == "tflite-runtime" else 77.0
    subprocess.run([python, "-m", "compileall", "-q", "agent", "learnae"], check=False)
    with race.step("an agent without a page"):
        without = measure(python, race.quick, with_page=False)
    with race.step("an agent with a page"):
        found = measure(python, race.quick, with_page=True)
    race.check(f"{runtime}: memory with a page", found["rss"], most, AT_MOST, "MB")
    added = found["anonymous"] - without["anonymous"]
    race.check("memory that the page adds, no viewer", added, 3.0, AT_MOST, "MB", "anonymous")
    race.check("CPU that the page adds, no viewer", found["cpu"] - without["cpu"], 0.3, AT_MOST, "% of one core")
    race.check("CPU that a viewer adds", found["watched"] - found["cpu"], 2.0, AT_MOST, "% of one core")
    race.figure("memory that a viewer adds", found["anonymous watched"] - found["anonymous"], "MB")
    race.figure("memory (RSS) that the page adds", found["rss"] - without["rss"], "MB")
    with race.step("bytes of the page"):
        race.check("bytes of the page, 1,000 peers", page_bytes(1000), 300_000, AT_MOST, "B", "compressed")
        race.figure("bytes of the page, 8 peers", page_bytes(8), "B")
    if shutil.which("chromium"):
        with race.step("the page in Chromium"):
            race.check(f"page load, {_PEERS} peers", load_seconds(), 1.0, AT_MOST, "s", "to rows and curves, best of 3")


def measure(python: str, quick: bool, with_page: bool) -> dict[str, float]:
    """Run one agent; memory in MB, CPU in percent of one core."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(sensor(root / "sys"))
        state = root / "state"
        is_here = Path(rig("mosquitto").program()).exists()
        url = f"mqtt://127.0.0.1:{stack.enter_context(broker(root / 'broker')).port}" if is_here else ""
        config = configured(root, url, 0.2, with_page)
        agent = stack.enter_context(running(python, root, config))
        wait_for(agent, lambda: status(state).get("steps", 0) >= (5 if quick else 100) and judged(state), "training")
        configured(root, url, 3600.0, with_page)
        subprocess.run(["kill", "-HUP", str(agent.pid)], check=True)
        wait_for(agent, lambda: is_idle(state), "it to pause")
        seconds = 2.0 if quick else 60.0
        found = {"cpu": cpu_share(agent.pid, seconds), **resident(agent.pid)}
        if with_page:
            stack.enter_context(Viewer(state))
            found["watched"] = cpu_share(agent.pid, seconds)
            found["anonymous watched"] = resident(agent.pid)["anonymous"]
    return found


def configured(root: Path, url: str, every: float, with_page: bool) -> Path:
    """Write the agent's configuration; also with a page."""
    config = configure(root, url, every)
    if with_page:
        config.write_text(config.read_text() + '[dashboard]\nlisten = "127.0.0.1:0"\n')
    return config


class Viewer:
    """Reads the events of the page of the peer in ``state``, as a browser does; a context manager."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._events = 0
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Viewer":
        self._thread.start()
        wait_until(lambda: self._events > 2, 60.0, "events")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _read(self) -> None:
        address = PageAddress.read(self._state)
        assert address
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        browser.open(address.with_token()).read()
        self._stream = browser.open(f"{address.url}api/events")
        try:
            for line in self._stream:
                self._events += line.startswith(b"data: ")
        except (OSError, ValueError, AttributeError):  # closed
            return


def page_bytes(peers: int) -> float:
    """Return what a browser receives until it has all of a page with so many peers."""
    with rig("pages").PageServer(**rig("page_parts").state(peers)) as page:
        cookie = page.cookie()
        answers = [page.get(path, Cookie=cookie, Accept_Encoding="gzip") for path in (*_ASSETS, "/api/state")]
    assert all(status == 200 for status, _, _ in answers)
    return float(sum(len(json.dumps(headers)) + len(body) for _, headers, body in answers))


def load_seconds() -> float:
    """Return how long Chromium takes from the address to all rows and curves, with peers that go on meanwhile."""
    peers = rig("page_parts").state(_PEERS)
    with rig("pages").PageServer(**peers) as page, rig("chromium").Chromium() as browser:
        return min(_timed(browser, lambda: f"http://{page.host}/?t={page.token()}") for _ in range(3))


def _timed(browser: Any, url: Callable[[], str]) -> float:
    browser.call("Network.clearBrowserCache")
    begun = time.monotonic()
    browser.open(url())
    browser.wait(_LOADED)
    return time.monotonic() - begun
