"""What the page costs: memory and processor time of an agent without it, with it, and with a viewer; bytes and time.

The agent is that of the race ``agent``: the real program, with one sensor of six channels at 50 Hz, between two
updates. Eight and a thousand live peers are a real trainer with a page, and authors whose signed messages it hears.
The browser is Chromium, where it is installed.
"""

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from bench.agent import compile_all, configure, cpu_share, is_idle, judged, resident, running, sensor, status, wait_for
from bench.harness import AT_MOST, Race
from bench.rigs.crowd import Crowd
from bench.rigs.processes import broker, rig, wait_until
from learnae.dashboard.address import PageAddress

_OWN_PYTHON = Path("build/venv-agent/bin/python")
_ASSETS = ("/", "/app.css", "/uplot.css", "/uplot.js", "/app.js", "/panels.js", "/icon.svg")
_PEERS, _MOST_ROWS = 8, 50  # peers; rows that the page draws at once
_ROWS = "document.querySelectorAll('#peers tbody tr')"
_CURVES = "!!document.querySelector('.plot canvas')"
_LATE_MS = 100.0


def run(race: Race) -> None:
    """Measure the agent, and the page itself."""
    python, runtime = (str(_OWN_PYTHON), "tflite-runtime") if _OWN_PYTHON.exists() else (sys.executable, "LiteRT")
    most = 62.0 if runtime == "tflite-runtime" else 77.0
    compile_all(python)
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
    few, many = (_PEERS, 40) if race.quick else (_PEERS, 1000)
    with race.step(f"{few} live peers in Chromium"), live(few) as (crowd, browser):
        race.figure(f"bytes of the page, {few} peers", page_bytes(crowd), "B")
        if browser:
            seconds = load_seconds(crowd, browser, few, 3)
            race.check(f"page load, {few} live peers", seconds, 1.0, AT_MOST, "s", "to rows and curves, best of 3")
            seconds = max(
                update_seconds(crowd, browser, 1_000_000 + number) for number in range(1 if race.quick else 8)
            )
            race.check("until a new update is in the page", seconds, 2.0, AT_MOST, "s", "the slowest of 8")
    with race.step(f"{many:,} live peers in Chromium"), live(many) as (crowd, browser):
        race.check(f"bytes of the page, {many:,} live peers", page_bytes(crowd), 300_000, AT_MOST, "B", "compressed")
        if browser:
            seconds = load_seconds(crowd, browser, many, 3)
            race.check(f"page load, {many:,} live peers", seconds, 2.0, AT_MOST, "s", "to rows and curves, best of 3")
            busy, gaps = smoothness(browser, 2.0 if race.quick else 20.0)
            note = "while 20 peers a second publish"
            race.check(f"{many:,} live peers: of the browser's thread", busy, 20.0, AT_MOST, "%", note)
            race.check("frames drawn later than 0.1 s", gaps, 1.0, AT_MOST, "%", note)
            browser.run("document.getElementById('peer-filter').focus()")
            browser.call("Input.insertText", text="board-0")
            race.figure(f"until an update of one of {many:,} is there", update_seconds(crowd, browser, 2_000_000), "s")
        else:
            race.note("the page is not drawn: chromium is not here (scripts/install-engines)")


def measure(python: str, quick: bool, with_page: bool) -> dict[str, float]:
    """Run one agent; memory in MB, CPU in percent of one core."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(sensor(root / "sys"))
        state = root / "state"
        is_here = rig("mosquitto").is_here()
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


@contextmanager
def live(peers: int) -> Iterator[tuple[Crowd, Any]]:
    """Run so many peers, of which one has a page that knows all; and a browser, None where there is none."""
    with ExitStack() as stack:
        crowd = stack.enter_context(Crowd(Path(stack.enter_context(tempfile.TemporaryDirectory())), peers))
        look = viewer_of(crowd.address())
        wait_until(lambda: rows_in(look) >= peers, 300.0, f"{peers} peers", 0.5)
        yield crowd, stack.enter_context(rig("chromium").Chromium()) if shutil.which("chromium") else None


def viewer_of(address: PageAddress | None) -> Callable[[str], bytes]:
    """Return what gets a path of the page, as a browser that has come in does."""
    assert address
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    browser.addheaders.append(("Accept-Encoding", "gzip"))
    browser.open(address.with_token()).read()

    def get(path: str) -> bytes:
        with browser.open(address.url + path.removeprefix("/")) as answer:
            body: bytes = answer.read()
            return json.dumps(dict(answer.headers)).encode() + b"\n" + body

    return get


def rows_in(get: Callable[[str], bytes]) -> int:
    """Return how many peers the page knows that have published."""
    headers, _, body = get("/api/state").partition(b"\n")
    state = json.loads(gzip.decompress(body) if b"gzip" in headers else body)
    return sum(name.startswith("peers/") and row["steps"] is not None for name, row in state["set"].items())


def page_bytes(crowd: Crowd) -> float:
    """Return what a browser receives until it has all of the page, headers included."""
    get = viewer_of(crowd.address())
    return float(sum(len(get(path)) for path in (*_ASSETS, "/api/state")))


def load_seconds(crowd: Crowd, browser: Any, peers: int, times: int) -> float:
    """Return how long Chromium takes from the address to all rows and curves, with peers that go on meanwhile."""
    rows = min(peers, _MOST_ROWS)
    return min(_timed(browser, crowd, f"{_ROWS}.length === {rows} && {_CURVES}") for _ in range(times))


def _timed(browser: Any, crowd: Crowd, loaded: str) -> float:
    browser.call("Network.clearBrowserCache")
    begun = time.monotonic()
    browser.open(_with_token(crowd))
    browser.wait(loaded)
    return time.monotonic() - begun


def _with_token(crowd: Crowd) -> str:
    address = crowd.address()
    assert address
    return address.with_token()


def update_seconds(crowd: Crowd, browser: Any, steps: int) -> float:
    """Return how long it takes from an update to where its steps are in the page."""
    begun = time.monotonic()
    crowd.speak(0, steps)
    browser.wait(f"[...{_ROWS}].some(row => row.textContent.includes('{steps:,}'))")
    return time.monotonic() - begun


def smoothness(browser: Any, seconds: float) -> tuple[float, float]:
    """Return how much of its time the page's thread works, and how many frames come late, in percent."""
    browser.call("Performance.enable")
    before, begun = _busy(browser), time.monotonic()
    gaps = browser.run(
        "new Promise(done => { const gaps = []; let last = performance.now(); const end = last + "
        f"{1000 * seconds:.0f}; const step = now => {{ gaps.push(now - last); last = now; "
        "now < end ? requestAnimationFrame(step) : done(gaps); }; requestAnimationFrame(step); })"
    )
    busy = 100 * (_busy(browser) - before) / (time.monotonic() - begun)
    return busy, 100 * sum(gap > _LATE_MS for gap in gaps) / len(gaps)


def _busy(browser: Any) -> float:
    metrics = browser.call("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))
