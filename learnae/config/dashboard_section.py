"""``[dashboard]``: a page about a peer in the browser of its machine."""

import re
from dataclasses import dataclass

from learnae.config.keys import setting
from learnae.config.sections import is_own_machine
from learnae.errors import ConfigurationError

_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_NAME = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - told, not listened at


@dataclass(frozen=True, slots=True)
class DashboardSection:
    """``[dashboard]``: addresses of this machine alone, unless it is said that others may see the page."""

    listen: str = setting(
        "",
        "where the page is: `HOST:PORT` of this machine, such as `127.0.0.1:8088` or `[::1]:8088`; port 0 takes a free "
        "one, for several peers of one configuration",
        stands_for="no page",
    )
    allow_remote: bool = setting(False, "take an address that other machines reach: for a proxy with TLS in front")
    names: str = setting(
        "", "what else browsers may call this machine, `HOST` or `HOST:PORT` with spaces between: names of a proxy"
    )
    metrics: bool = setting(False, "figures for Prometheus at `/metrics`, without a token, for this machine alone")

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
