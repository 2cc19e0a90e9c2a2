"""A real browser without a screen, over the DevTools protocol on a pipe: pages, their errors, and what they ask for."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

PROGRAM = "chromium"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
_SECONDS = 60.0
_STALE_SECONDS = 0.05


class Chromium:
    """A browser with one page; a context manager. ``console`` holds errors, ``asked`` the addresses asked for."""

    def __init__(self) -> None:
        self._numbers = 0
        self._left = b""
        self.console: list[str] = []
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        self._directory = tempfile.mkdtemp(prefix="chromium-")
        out_child, self._out = os.pipe()
        self._in, in_child = os.pipe()

        program = shutil.which(PROGRAM)
        assert program
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{out_child} 4>&{in_child}', program, *_FLAGS,
             f"--user-data-dir={self._directory}", "about:blank"],
            pass_fds=(out_child, in_child), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(out_child)
        os.close(in_child)
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._directory, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the page."""
        return self._call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.protocol !== 'about:'")

    def run(self, script: str) -> Any:
        """Return what a script gives, also what it promises."""
        said = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Return what the script ``condition`` gives, once that is something."""
        deadline = time.monotonic() + _SECONDS
        while not (found := self.run(condition)):
            assert time.monotonic() < deadline, f"waited for {condition}; errors: {self.console}"
            self._pump(_STALE_SECONDS, lambda _: None)
        return found

    def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Show the page on a screen of so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        said = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(said["data"]))

    # -- the pipe

    def _call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        self._numbers += 1
        number = self._numbers
        wish = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(wish).encode() + b"\0")
        found: dict[str, Any] = {}

        def answer(said: dict[str, Any]) -> None:
            if said.get("id") == number:
                found.update(said)

        deadline = time.monotonic() + _SECONDS
        while not found:
            assert time.monotonic() < deadline, f"the browser does not answer {method}"
            self._pump(1.0, answer)
        assert "error" not in found, (method, found["error"])
        result: dict[str, Any] = found["result"]
        return result

    def _pump(self, seconds: float, take: Callable[..., object]) -> None:
        """Read what comes within so many seconds; ``take`` gets each answer."""
        if not select.select([self._in], [], [], seconds)[0]:
            return
        data = os.read(self._in, 1 << 20)
        assert data, "the browser has ended"
        *texts, self._left = (self._left + data).split(b"\0")
        for text in texts:
            said = json.loads(text)
            self._note(said)
            if "id" in said and take:
                take(said)

    def _note(self, said: dict[str, Any]) -> None:
        method, about = said.get("method"), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(about["exceptionDetails"])[:1000])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.console.append(json.dumps(about["args"])[:1000])
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
