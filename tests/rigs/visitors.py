"""Who looks at the page of a peer that runs: opens it with a token, as a person does with a browser."""

import json
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

from programs import Programs, wait_for


class Visitor:
    """Holds the cookie of the page of ``peer``, or of the only one here."""

    def __init__(self, programs: Programs, peer: str = "") -> None:
        more = ["--peer", peer] if peer else []
        wait_for(lambda: programs.run("learnae", "dashboard", *more).returncode == 0, "a page")
        self.url: str = programs.answer("learnae", "dashboard", *more)["url"]
        self.base = self.url.partition("?")[0]
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.page: bytes = self._browser.open(self.url).read()

    def get(self, path: str) -> bytes:
        """Return what is at a path without its slash."""
        found: bytes = self._browser.open(self.base + path).read()
        return found

    def state(self) -> dict[str, Any]:
        """Return all parts."""
        found: dict[str, Any] = json.loads(self.get("api/state"))["set"]
        return found

    def event(self) -> bytes:
        """Return the first event."""
        with self._browser.open(f"{self.base}api/events") as events:
            while not (line := events.readline()).startswith(b"data: "):
                assert line
            return bytes(line)

    def post(self, path: str, wish: object) -> dict[str, Any]:
        """Ask for something."""
        headers = {"Content-Type": "application/json", "Origin": self.base.rstrip("/")}
        request = urllib.request.Request(self.base + path, json.dumps(wish).encode(), headers)
        found: dict[str, Any] = json.load(self._browser.open(request))
        return found
