"""Sections of the configuration that every role has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from learnae.errors import ConfigurationError
from learnae.home import peer_directory


@dataclass(frozen=True, slots=True)
class PeerSection:
    """``[peer]``: ``name`` of this peer, its ``state`` directory, how many others it may ``follow``.

    Empty values and 0 stand for the role's defaults.
    """

    name: str = ""
    state: str = ""
    follow: int = 0

    def __post_init__(self) -> None:
        if self.follow < 0:
            raise ConfigurationError(f"peer.follow is {self.follow}", "use a number of peers, 0 for the default")

    def directory(self, role: str) -> Path:
        """The peer's own directory."""
        return Path(self.state) if self.state else peer_directory(self.name or role)


@dataclass(frozen=True, slots=True)
class SwarmSection:
    """``[swarm]``: ``id`` names the swarm or its directory; empty for the only one on this machine."""

    id: str = ""


@dataclass(frozen=True, slots=True)
class TrainSection:
    """``[train]``: seconds of ``pause`` between two updates."""

    pause: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.pause <= 86_400:
            raise ConfigurationError(f"train.pause is {self.pause}", "use seconds, from 0 to 86400")


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class MqttSection:
    """``[mqtt]``: the ``broker`` as ``mqtt://HOST[:PORT]`` or ``mqtts://HOST[:PORT]``; empty for none.

    Names of files that are not absolute are looked for in ``$CREDENTIALS_DIRECTORY`` first. ``prefix``
    begins every topic. After one and a half times ``keep_alive`` seconds of silence the broker declares a peer
    offline. ``monitor``, ``gossip`` and ``exchange`` say what the broker is used for; ``home_assistant`` also
    announces the peer there. While the broker is away, at most ``queue_rows`` and ``queue_bytes`` of what
    the monitor says wait on disk.
    """

    broker: str = ""
    user: str = ""
    user_file: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    prefix: str = "learnae/1"
    keep_alive: int = 30
    monitor: bool = True
    gossip: bool = True
    exchange: bool = True
    home_assistant: bool = False
    queue_rows: int = 20_000
    queue_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        if self.broker:
            self.address()
        if not self.prefix or any(sign in self.prefix for sign in "#+\0") or self.prefix[0] in "/$":
            raise ConfigurationError(f"mqtt.prefix is {self.prefix!r}", "use words with / between them")
        if not 1 <= self.keep_alive <= 3600:
            raise ConfigurationError(f"mqtt.keep_alive is {self.keep_alive}", "use seconds, from 1 to 3600")
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigurationError("one of mqtt.cert_file and mqtt.key_file is missing", "set both")
        if self.password_file and not (self.user or self.user_file):
            raise ConfigurationError("mqtt.password_file is set and no user", "set mqtt.user or mqtt.user_file")
        if self.queue_rows < 1 or self.queue_bytes < 1 << 16:
            raise ConfigurationError("the queue of mqtt has no room", "use queue_rows >= 1, queue_bytes >= 65536")

    def address(self) -> MqttAddress:
        """The broker's; raises ConfigurationError."""
        remedy = "use mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; names and passwords go into files"
        try:
            parts = urlsplit(self.broker)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"mqtt.broker is {self.broker!r}", remedy) from error
        plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not plain or port == 0:
            raise ConfigurationError(f"mqtt.broker is {self.broker!r}", remedy)
        tls = parts.scheme == "mqtts"
        if not tls and (self.ca_file or self.cert_file):
            raise ConfigurationError("mqtt.broker is not encrypted, but certificates are set", "use mqtts://")
        return MqttAddress(parts.hostname, port or (8883 if tls else 1883), tls)


def check_holdout(section: str, holdout: float) -> None:
    """Raise ConfigurationError unless ``holdout`` is a share of the data that leaves some to train on."""
    if not 0 <= holdout < 1:
        raise ConfigurationError(f"{section}.holdout is {holdout}", "use a share from 0 to below 1")
