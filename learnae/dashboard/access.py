"""Who may see the page: names that this server answers to, one-time tokens, and the cookie that follows one. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping

KEY_BYTES = 32
TOKEN_SECONDS = 600
COOKIE_SECONDS = 30 * 86_400
_NONCE, _TIME, _PROOF = 16, 8, 16  # bytes
_MOST_USED = 4096  # tokens remembered as used: only who holds the key makes any
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_TOKEN, _COOKIE = b"learnae dashboard token ", b"learnae dashboard cookie "
_SAME = ("same-origin", "none")  # of Sec-Fetch-Site


def mint_token(key: bytes, run: bytes, now: float | None = None) -> str:
    """Return a token for the server that runs as ``run`` with ``key``: it works once, and for ten minutes."""
    return _mint(key, _TOKEN + run, TOKEN_SECONDS, time.time() if now is None else now)


class Access:
    """Decides about requests to the server at ``port`` with ``key``, in its run ``run``; ``now`` is in Unix seconds.

    ``names`` are further values of Host, with a port or without.

    >>> access = Access(bytes(32), b"run", 8088)
    >>> cookie = access.redeem(mint_token(bytes(32), b"run"))
    >>> access.admits({"cookie": cookie}), access.is_own_host("localhost:8088"), access.is_own_host("evil.example:8088")
    (True, True, False)
    """

    def __init__(
        self, key: bytes, run: bytes, port: int, names: Collection[str] = (), now: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._run = run
        self._now = now
        self._used: dict[bytes, float] = {}
        self.cookie_name = f"learnae_{port}"  # cookies are per host, not per port
        hosts = {f"{name}:{port}" for name in _LOOPBACK} | (set(_LOOPBACK) if port == 80 else set())
        for name in map(str.lower, names):
            hosts |= {name} if re.search(r":\d+$", name) else {name, f"{name}:{port}"}
        self._hosts = frozenset(hosts)

    def is_own_host(self, host: str) -> bool:
        """Return True if ``host``, of the header Host, is a name of this server: else a page of the web rebinds DNS."""
        return host.lower() in self._hosts

    def redeem(self, token: str) -> str:
        """Return the cookie, as ``NAME=VALUE``, for a token that is good and was not used yet; "" for any other."""
        nonce = self._opened(token, _TOKEN + self._run)
        now = self._now()
        self._used = {each: until for each, until in self._used.items() if until > now}
        if nonce is None or nonce in self._used or len(self._used) >= _MOST_USED:
            return ""
        self._used[nonce] = now + TOKEN_SECONDS
        return f"{self.cookie_name}={_mint(self._key, _COOKIE, COOKIE_SECONDS, now)}"

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Return True if the headers bring this server's cookie."""
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie_name and self._opened(value, _COOKIE) is not None:
                return True
        return False

    @staticmethod
    def is_from_own_page(headers: Mapping[str, str], writes: bool) -> bool:
        """Return True unless a browser says that another origin asks; what ``writes`` must say that its own does."""
        if headers.get("sec-fetch-site", "none") not in _SAME:
            return False
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is None:
            return not writes
        return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())

    def _opened(self, text: str, purpose: bytes) -> bytes | None:
        """Return the nonce of what was minted for ``purpose`` and holds still; None for anything else."""
        try:
            data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except ValueError:
            return None
        nonce, until, proof = data[:_NONCE], data[_NONCE : _NONCE + _TIME], data[_NONCE + _TIME :]
        if not hmac.compare_digest(proof, _proof(self._key, purpose, nonce + until)):
            return None
        return nonce if int.from_bytes(until, "big") > self._now() else None


def _mint(key: bytes, purpose: bytes, seconds: int, now: float) -> str:
    said = secrets.token_bytes(_NONCE) + (int(now) + seconds).to_bytes(_TIME, "big")
    return urlsafe_b64encode(said + _proof(key, purpose, said)).decode().rstrip("=")


def _proof(key: bytes, purpose: bytes, said: bytes) -> bytes:
    return hmac.digest(key, purpose + said, hashlib.sha256().name)[:_PROOF]
