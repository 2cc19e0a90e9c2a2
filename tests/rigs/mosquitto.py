"""A real Mosquitto on loopback: random ports, plain or TLS with client certificates, ACL; kill, stop, restart."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from daemon import HOST, Daemon, free_port
from programs import wait_for

PROGRAM = "mosquitto"


def program() -> str:
    """Debian puts it where a user's PATH may not look."""
    return shutil.which(PROGRAM) or "/usr/sbin/mosquitto"


class Certificates:
    """A throw-away authority in ``directory``, a server's certificate, and one for each client name."""

    def __init__(self, directory: Path, clients: Iterable[str] = ()) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = directory / "ca.crt"
        self._openssl(
            *("req", "-x509", *_NEW_KEY, "-days", "30", "-subj", "/CN=test authority"),
            *("-keyout", "ca.key", "-out", "ca.crt"),
        )
        (directory / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for name in ("server", *clients):
            self.issue(name)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of ``name`` (its common name)."""
        self._openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "30", "-extfile", "extensions", "-out", f"{name}.crt"),
        )
        (self.directory / f"{name}.key").chmod(0o644)  # the broker reads it as another user
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True, check=True, timeout=60)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Mosquitto(Daemon):
    """A broker; a context manager that ends it. ``port`` stays the same over restarts.

    With ``certificates`` there is a second listener at ``tls_port`` that demands a client certificate,
    whose common name is the user name; ``acl`` (Mosquitto's acl_file) then rules there.
    """

    def __init__(
        self, directory: Path, certificates: Certificates | None = None, acl: str = "", extra: str = ""
    ) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.tls_port = free_port() if certificates else 0
        lines = [
            "per_listener_settings true",
            "log_dest stderr",
            "max_queued_messages 100000",
            f"listener {self.port} {HOST}",
            "allow_anonymous true",
            extra,
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # the directory of a test belongs to its user
        if certificates:
            (directory / "acl").write_text(acl or "topic readwrite #\n")
            lines += [
                f"listener {self.tls_port} {HOST}",
                f"cafile {certificates.authority}",
                f"certfile {certificates.directory / 'server.crt'}",
                f"keyfile {certificates.directory / 'server.key'}",
                "require_certificate true",
                "use_identity_as_username true",
                f"acl_file {directory / 'acl'}",
            ]
        (directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def start(self) -> None:
        """Start it, and return when it listens."""
        self._launch([program(), "-c", str(self.directory / "mosquitto.conf")])
        for port in filter(None, (self.port, self.tls_port)):
            wait_for(lambda port=port: self._listens(port), f"Mosquitto at port {port}")

    def _listens(self, port: int) -> bool:
        self._assert_runs()
        try:
            socket.create_connection((HOST, port), 0.2).close()
        except OSError:
            return False
        return True
