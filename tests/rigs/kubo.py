"""Real Kubo daemons on loopback, in a private swarm of their own; kill, hang, restart, forget."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from daemon import HOST, Daemon, free_port
from programs import wait_for

PROGRAM = "ipfs"
# every daemon of these tests, and no other, is in this network
_SWARM_KEY = "/key/swarm/psk/1.0.0/\n/base16/\n" + "1ea12ae0" * 8 + "\n"


class Kubo(Daemon):
    """A daemon with its repository in ``directory``; a context manager that ends it.

    API, gateway and swarm ports stay the same over restarts. ``settings`` are dotted names of Kubo's configuration.
    """

    def __init__(self, directory: Path, pubsub: bool = True, settings: dict[str, Any] | None = None) -> None:
        super().__init__(directory)
        self.api_port, self.gateway_port, self.swarm_port = free_port(), free_port(), free_port()
        self._settings: dict[str, Any] = {
            "Addresses.API": f"/ip4/{HOST}/tcp/{self.api_port}",
            "Addresses.Gateway": f"/ip4/{HOST}/tcp/{self.gateway_port}",
            "Addresses.Swarm": [f"/ip4/{HOST}/tcp/{self.swarm_port}"],
            "Routing.Type": "none",  # these daemons know each other
            "Pubsub.Enabled": pubsub,
            **(settings or {}),
        }
        self.needs_key = True
        self._said = 0  # characters in the log before this start
        self._initialise()

    @property
    def api(self) -> str:
        """Return the multiaddress of its RPC."""
        return f"/ip4/{HOST}/tcp/{self.api_port}"

    @property
    def gateway(self) -> str:
        """Return the address of its gateway."""
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def address(self) -> str:
        """Return where other daemons find it."""
        identity = json.loads((self.directory / "config").read_text())["Identity"]["PeerID"]
        return f"/ip4/{HOST}/tcp/{self.swarm_port}/p2p/{identity}"

    def run(self, *arguments: str, input: bytes | None = None) -> bytes:
        """Return what ``ipfs ARGUMENTS`` prints."""
        command = [shutil.which(PROGRAM) or PROGRAM, *arguments]
        done = subprocess.run(command, env=self.environment, input=input, capture_output=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """For the program ``ipfs``."""
        private = {"LIBP2P_FORCE_PNET": "1"} if self.needs_key else {}
        return {**os.environ, **private, "IPFS_PATH": str(self.directory), "IPFS_TELEMETRY": "off"}

    def pins(self) -> dict[str, str]:
        """CID to name, of all that is pinned directly."""
        said = json.loads(self.run("pin", "ls", "--type=direct", "--names", "--enc=json") or b"{}")
        return {cid: pin["Name"] for cid, pin in said.get("Keys", {}).items()}

    def join(self, other: Kubo) -> None:
        """Let the two daemons know each other."""
        self.run("swarm", "connect", other.address)

    def start(self) -> None:
        self._said = len(self.log)
        self._launch([shutil.which(PROGRAM) or PROGRAM, "daemon"], self.environment)
        wait_for(self._answers, "Kubo to answer")

    def forget(self) -> None:
        """Lose all blocks and pins; the identity stays. It must not run."""
        assert self._process is None
        identity = json.loads((self.directory / "config").read_text())["Identity"]
        shutil.rmtree(self.directory)
        self._initialise(identity)

    def _initialise(self, identity: dict[str, str] | None = None) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.run("init", "--profile=test", "--empty-repo")
        (self.directory / "swarm.key").write_text(_SWARM_KEY)
        path = self.directory / "config"
        config = json.loads(path.read_text())
        config["Identity"] = identity or config["Identity"]
        for name, value in self._settings.items():
            *sections, key = name.split(".")
            place = config
            for section in sections:
                place = place.setdefault(section, {})
            place[key] = value
        path.write_text(json.dumps(config))

    def _answers(self) -> bool:
        self._assert_runs()
        return "Daemon is ready" in self.log[self._said :]
