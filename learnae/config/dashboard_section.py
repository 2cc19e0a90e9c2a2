"""``[dashboard]``: a page about a peer in the browser of its machine."""

import re
from dataclasses import dataclass

from learnae.config.sections import is_own_machine
from learnae.errors import ConfigurationError

_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_NAME = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - told, not listened at


@dataclass(frozen=True, slots=True)
class DashboardSection:
    """``[dashboard]``: ``listen`` is HOST:PORT of this machine, empty for no page; port 0 takes a free one.

    Only addresses of this machine alone are taken, unless ``allow_remote`` says that others may see the page: then it
    belongs behind a reverse proxy with TLS, and ``names`` are what browsers call this machine, with spaces between
    them. ``metrics`` serves Prometheus at /metrics, without a token, to this machine alone.
    """

    listen: str = ""
    allow_remote: bool = False
    names: str = ""
    metrics: bool = False

    def __post_init__(self) -> None:
        if not self.listen:
            return
        host, _ = self.place()
        if not is_own_machine(host) and not self.allow_remote:
            raise ConfigurationError(
                f"dashboard.listen is {self.listen!r}, which other machines reach",
                'use "127.0.0.1:8088"; or set allow_remote = true, and put TLS in front (docs/dashboard.md)',
            )
        if host in _EVERYWHERE and not self.names.strip():
            raise ConfigurationError(
                f"dashboard.listen is {self.listen!r}, and no dashboard.names", "set what browsers call this machine"
            )
        for name in self.names.split():
            if not _NAME.fullmatch(name):
                raise ConfigurationError(f"dashboard.names holds {name[:80]!r}", "use HOST or HOST:PORT")
        if self.metrics and (self.allow_remote or self.names.strip()):
            raise ConfigurationError(
                "dashboard.metrics and dashboard.allow_remote or names are set",
                "leave one out: a proxy of this machine would show the metrics to all that reach it",
            )

    def place(self) -> tuple[str, int]:
        """Return host and port to listen at; raises ConfigurationError."""
        found = _PLACE.fullmatch(self.listen)
        if not found or int(found[2]) > 65_535:
            raise ConfigurationError(
                f"dashboard.listen is {self.listen[:80]!r}", "use HOST:PORT, such as 127.0.0.1:8088"
            )
        return found[1].strip("[]"), int(found[2])
