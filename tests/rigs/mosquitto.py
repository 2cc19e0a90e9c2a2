"""A real Mosquitto on loopback: random ports, plain or TLS with client certificates, ACL; kill, stop, restart."""

import os
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from authority import Authority
from daemon import HOST, Daemon, free_port
from programs import wait_for

PROGRAM = "mosquitto"


def program() -> str:
    """Debian puts it where a user's PATH may not look."""
    return shutil.which(PROGRAM) or "/usr/sbin/mosquitto"


def is_here() -> bool:
    return shutil.which(program()) is not None


class Certificates(Authority):
    """A throw-away authority in ``directory``, a server's certificate, and one for each client name."""

    def __init__(self, directory: Path, clients: Iterable[str] = ()) -> None:
        super().__init__(directory, "ca")
        self.authority = self.ca_file
        for name in ("server", *clients):
            self.issue(name)


class Mosquitto(Daemon):
    """A broker; a context manager that ends it. ``port`` stays the same over restarts.

    With ``certificates`` there is a second listener at ``tls_port`` that demands a client certificate,
    whose common name is the user name; ``acl`` (Mosquitto's acl_file) then rules there.
    ``own_ids`` makes that name the client id, too.
    """

    def __init__(
        self,
        place: Path,
        certificates: Certificates | None = None,
        acl: str = "",
        extra: str = "",
        own_ids: bool = False,
    ) -> None:
        super().__init__(place)
        place.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.tls_port = free_port() if certificates else 0
        lines = ["per_listener_settings true", "log_dest stderr", "max_queued_messages 100000"]
        lines += [f"listener {self.port} {HOST}", "allow_anonymous true", extra]
        if os.geteuid() == 0:
            lines.append("user root")  # the directory of a test belongs to its user
        if certificates:
            (place / "acl").write_text(acl or "topic readwrite #\n")
            lines += [
                f"listener {self.tls_port} {HOST}",
                f"cafile {certificates.authority}",
                f"certfile {certificates.directory / 'server.crt'}",
                f"keyfile {certificates.directory / 'server.key'}",
                "require_certificate true",
                "use_identity_as_username true",
                f"acl_file {place / 'acl'}",
                f"use_username_as_clientid {str(own_ids).lower()}",
            ]
        (place / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        self._launch([program(), "-c", str(self.directory / "mosquitto.conf")])
        for port in filter(None, (self.port, self.tls_port)):
            wait_for(lambda port=port: self._listens(port), f"Mosquitto at port {port}")

    def _listens(self, port: int) -> bool:
        self._assert_runs()
        with suppress(OSError):
            socket.create_connection((HOST, port), 0.2).close()
            return True
        return False
