"""Sections of the configuration that every role has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args
from urllib.parse import urlsplit

from learnae.basics.overriding import override
from learnae.config.places import Place, Secret, SwarmPlace
from learnae.errors import ConfigurationError
from learnae.system.paths import check_peer_name, peer_directory
from learnae.text import without_secrets

LIVE = "live"  # the history that a checkpoint does not replace
AUTO = "auto"  # of lan.serve: at all addresses of this machine


@dataclass(frozen=True, slots=True)
class PeerSection:
    """``[peer]``: ``name`` of this peer, its ``state`` directory, how many others it may ``follow``.

    Empty values and 0 stand for the role's defaults. ``history`` is ``live``, or ``all`` for an archive: then this
    machine deletes no block of the swarm.
    """

    name: str = ""
    state: Place = ""
    follow: int = 0
    history: str = LIVE

    def __post_init__(self) -> None:
        if self.follow < 0:
            raise ConfigurationError(f"peer.follow is {self.follow}", "use a number of peers, 0 for the default")
        check_choice("peer.history", self.history, (LIVE, "all"))
        if self.name:
            check_peer_name("peer.name", self.name)

    def directory(self, role: str) -> Path:
        """Return the peer's own directory."""
        return Path(self.state) if self.state else peer_directory(self.name or role)


@dataclass(frozen=True, slots=True)
class SwarmSection:
    """``[swarm]``: ``id`` names the swarm, its directory or a copy of its manifest; empty for the only one here."""

    id: SwarmPlace = ""


@dataclass(frozen=True, slots=True)
class TrainSection:
    """``[train]``: a peer settles after so many own updates without a gain, ``stop_when``; 0 for never.

    A ``personal`` model is kept beside the common one, for this machine alone.
    """

    stop_when: int = 500
    personal: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.stop_when <= 1_000_000:
            raise ConfigurationError(f"train.stop_when is {self.stop_when}", "use updates, 0 for never")


@dataclass(frozen=True, slots=True)
class PublishSection:
    """``[publish]``: at least ``every`` seconds lie between two updates, and they are at most ``bytes_per_hour``.

    ``every`` 0 is as the role and its links have it, ``bytes_per_hour`` 0 is no limit.
    """

    every: float = 0.0
    bytes_per_hour: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.every <= 86_400:
            raise ConfigurationError(f"publish.every is {self.every}", "use seconds, from 0 to 86400")
        if not 0 <= self.bytes_per_hour <= 10**15:
            raise ConfigurationError(f"publish.bytes_per_hour is {self.bytes_per_hour}", "use bytes, 0 for no limit")


PLAIN, SEALED, OFF = "plain", "sealed", "off"
MonitorMode = Annotated[str, (PLAIN, SEALED, OFF)]
BROKER_URLS = "mqtt://HOST[:PORT], mqtts://HOST[:PORT], ws://HOST[:PORT][/PATH] or wss://HOST[:PORT][/PATH]"
_BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_BROKER_PATH = "/mqtt"  # of websockets, as most brokers have it
_CLIENT_ID_BYTES = 256
_MOST_SHOWN = 80  # characters of a value in an error
_PREFIX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where a broker listens; ``path`` is that of websockets, empty where none are spoken."""

    host: str
    port: int
    tls: bool
    path: str = ""


@dataclass(frozen=True, slots=True)
class MqttSection:
    """``[mqtt]``: the ``broker`` as ``mqtt[s]://HOST[:PORT]``, or ``ws[s]://HOST[:PORT][/PATH]``; empty for none.

    Names of files that are not absolute are looked for in ``$CREDENTIALS_DIRECTORY`` first. ``client_id`` is this
    peer's, its sources' begin with it; empty for one that is made of the peer's key. ``prefix`` begins every topic.
    After one and a half times ``keep_alive`` seconds of silence the broker declares a peer offline. ``monitor``
    says how the peer is shown there: ``plain``, ``sealed`` (for members and viewers) or ``off``; empty for plain in an
    open swarm, sealed in a sealed one. ``gossip`` and ``exchange`` say what else the broker is used for;
    ``home_assistant`` also announces the peer there, below ``home_assistant_prefix``. ``plain`` says that the password
    may go to another machine without TLS. While the broker is away, at most ``queue_rows`` and ``queue_bytes`` of what
    the monitor says wait on disk. Of blocks that others ask for, at most ``bytes_per_second`` go out.
    """

    broker: str = ""
    user: str = ""
    user_file: Secret = ""
    password_file: Secret = ""
    ca_file: Secret = ""
    cert_file: Secret = ""
    key_file: Secret = ""
    client_id: str = ""
    prefix: str = "learnae/1"
    keep_alive: int = 30
    monitor: MonitorMode = ""
    gossip: bool = True
    exchange: bool = True
    home_assistant: bool = False
    home_assistant_prefix: str = "homeassistant"
    plain: bool = False
    queue_rows: int = 20_000
    queue_bytes: int = 8 << 20
    bytes_per_second: int = 1 << 20

    def __post_init__(self) -> None:
        if self.broker:
            self.address()
        check_client_id("mqtt.client_id", self.client_id)
        if self.monitor:
            check_choice("mqtt.monitor", self.monitor, get_args(MonitorMode)[1])
        self.check_readable(self.monitor)
        for key in ("prefix", "home_assistant_prefix"):
            object.__setattr__(self, key, _topic_prefix(f"mqtt.{key}", getattr(self, key)))
        if not 1 <= self.keep_alive <= 3600:
            raise ConfigurationError(f"mqtt.keep_alive is {self.keep_alive}", "use seconds, from 1 to 3600")
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigurationError("one of mqtt.cert_file and mqtt.key_file is missing", "set both")
        if self.password_file and not (self.user or self.user_file):
            raise ConfigurationError("mqtt.password_file is set and no user", "set mqtt.user or mqtt.user_file")
        if not 1024 <= self.bytes_per_second <= 10**12:
            problem = f"mqtt.bytes_per_second is {self.bytes_per_second}"
            raise ConfigurationError(problem, "use bytes, from 1024 to 1000000000000")
        if self.queue_rows < 1 or self.queue_bytes < 1 << 16:
            raise ConfigurationError("the queue of mqtt has no room", "use queue_rows >= 1, queue_bytes >= 65536")

    def check_readable(self, mode: str) -> None:
        """Raise ConfigurationError if Home Assistant is to read what is shown as ``mode``, and cannot."""
        if self.home_assistant and mode not in ("", PLAIN):
            raise ConfigurationError(
                f"mqtt.home_assistant is true, and mqtt.monitor is {mode}",
                f'Home Assistant reads monitor = "{PLAIN}" only: set one of them to another value',
            )

    def address(self) -> MqttAddress:
        """Return the broker's address; raises ConfigurationError."""
        remedy = f"use {BROKER_URLS}; names and passwords go into files"
        wrong = ConfigurationError(f"mqtt.broker is {without_secrets(self.broker)!r}", remedy)
        scheme, host, port, path = _parse_url(self.broker, tuple(_BROKER_PORTS), wrong)
        tls, is_web = scheme in ("mqtts", "wss"), scheme in ("ws", "wss")
        if (path.strip("/") and not is_web) or not path.isprintable() or " " in path:
            raise wrong
        if not tls and (self.ca_file or self.cert_file):
            raise ConfigurationError("mqtt.broker is not encrypted, but certificates are set", f"use {scheme}s://")
        return MqttAddress(host, port or _BROKER_PORTS[scheme], tls, (path or _BROKER_PATH) if is_web else "")


@dataclass(frozen=True, slots=True)
class GatewaySection:
    """``[ipfs]`` of a machine without a daemon: ``gateways`` to read from, as URLs with spaces between them.

    ``timeout`` is how many seconds a call may take; ``ca_file`` what signed the certificates at https, else what the
    system trusts counts.
    """

    gateways: str = ""
    timeout: float = 10.0
    ca_file: Secret = ""

    def __post_init__(self) -> None:
        if not 0.5 <= self.timeout <= 600:
            raise ConfigurationError(f"ipfs.timeout is {self.timeout}", "use seconds, from 0.5 to 600")
        for url in self.gateway_urls:
            remedy = "use the address of a trustless gateway, such as http://trainer.local:8080"
            wrong = ConfigurationError(f"ipfs.gateways holds {without_secrets(url)!r}", remedy)
            _parse_url(url, ("http", "https"), wrong)
            if url.rstrip("/").endswith("/ipfs"):
                raise ConfigurationError(
                    f"ipfs.gateways holds {without_secrets(url)!r}", "leave out its end: /ipfs/ and a name are added"
                )

    @property
    def gateway_urls(self) -> list[str]:
        """Return the gateways to read from, in order."""
        return [url.rstrip("/") for url in self.gateways.split()]


@dataclass(frozen=True, slots=True)
class IpfsSection(GatewaySection):
    """``[ipfs]``: also the RPC ``api`` of a Kubo daemon as a multiaddress; empty for none.

    ``token_file`` holds the credential for the RPC, as in Kubo's API.Authorizations. ``connect`` names other
    daemons by multiaddress, with spaces between them. ``pubsub`` also announces heads there.
    """

    api: str = ""
    token_file: Secret = ""
    connect: str = ""
    pubsub: bool = True

    @override
    def __post_init__(self) -> None:
        GatewaySection.__post_init__(self)
        if self.api and not self.api.startswith("/"):
            remedy = "use a multiaddress such as /ip4/127.0.0.1/tcp/5001 or /unix/run/ipfs/api.sock"
            raise ConfigurationError(f"ipfs.api is {without_secrets(self.api)!r}", remedy)
        for address in self.addresses:
            if not address.startswith("/") or "/p2p/" not in address:
                remedy = "use what `ipfs id` shows there, such as /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…"
                raise ConfigurationError(f"ipfs.connect holds {without_secrets(address)!r}", remedy)
        if (self.token_file or self.connect) and not self.api:
            raise ConfigurationError("ipfs.token_file or ipfs.connect is set and no ipfs.api", "set ipfs.api")

    @property
    def addresses(self) -> list[str]:
        """Return the multiaddresses of the daemons to connect to."""
        return self.connect.split()

    @property
    def is_private(self) -> bool:
        """Return True if what is sent to ``api`` cannot be read on the way."""
        local = ("/unix/", "/ip4/127.", "/ip6/::1/", "/dns/localhost/", "/dns4/localhost/", "/dns6/localhost/")
        return self.api.startswith(local) or self.api.endswith("/https")


EXCHANGES = ("http", "ipfs", "mqtt", "gateway")


@dataclass(frozen=True, slots=True)
class ExchangeSection:
    """``[exchange]``: the ``order`` in which exchanges are asked for a block; those not named come last."""

    order: str = " ".join(EXCHANGES)

    def __post_init__(self) -> None:
        for name in self.order.split():
            if name not in EXCHANGES:
                raise ConfigurationError(f"exchange.order holds {name!r}", f"use {', '.join(EXCHANGES)}")

    def rank(self, name: str) -> int:
        """Return the place of an exchange such as ``gateway http://…``; its first word says of which kind it is."""
        order = self.order.split()
        kind = name.partition(" ")[0]
        return order.index(kind) if kind in order else len(order)


def _parse_url(url: str, schemes: Sequence[str], wrong: ConfigurationError) -> tuple[str, str, int | None, str]:
    """Return scheme, host, port and path; raises ``wrong`` for another scheme, names, passwords, query or fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    is_plain = not (parts.query or parts.fragment or parts.username or parts.password) and port != 0
    host = parts.hostname or ""
    is_host = re.fullmatch(r"[\w.:%-]+", host)
    if parts.scheme not in schemes or not is_host or not is_plain or not url.isprintable() or " " in url:
        raise wrong
    return parts.scheme, host, port, parts.path


@dataclass(frozen=True, slots=True)
class IotaSection:
    """``[iota]``: heads over a ``node`` of the legacy protocol, such as http://127.0.0.1:14265; empty for none.

    ``pow`` is done here (local) or by the node; ``mwm`` 0 asks the node for the minimum weight magnitude. ``poll``
    seconds lie between two looks, ``every`` at least between two own announcements. ``coordinator`` is the address of
    the only coordinator whose Tangle will do. ``events`` is the node's ZMQ stream, such as tcp://127.0.0.1:5556.
    ``ca_file`` is what signed the certificate of a node at https, else what the system trusts counts.
    """

    node: str = ""
    pow: str = "local"
    mwm: int = 0
    poll: float = 5.0
    every: float = 30.0
    coordinator: str = ""
    events: str = ""
    ca_file: Secret = ""

    def __post_init__(self) -> None:
        if self.node:
            remedy = "use its URL, such as http://127.0.0.1:14265, without a name or a password"
            wrong = ConfigurationError(f"iota.node is {without_secrets(self.node)!r}", remedy)
            _parse_url(self.node, ("http", "https"), wrong)
        check_choice("iota.pow", self.pow, ("local", "node"))
        if not 0 <= self.mwm <= 18:
            raise ConfigurationError(f"iota.mwm is {self.mwm}", "use 0 to ask the node, or 1 to 18")
        for key, value in (("poll", self.poll), ("every", self.every)):
            if not 0.1 <= value <= 600:
                raise ConfigurationError(f"iota.{key} is {value}", "use seconds, from 0.1 to 600")
        if self.coordinator and not re.fullmatch("[9A-Z]{81}", self.coordinator):
            raise ConfigurationError(f"iota.coordinator is {self.coordinator!r}", "use an address of 81 trytes")
        if self.events:
            wrong = ConfigurationError(f"iota.events is {without_secrets(self.events)!r}", "use tcp://HOST:5556")
            _parse_url(self.events, ("tcp",), wrong)


@dataclass(frozen=True, slots=True)
class MemberAddress:
    """Where a member serves; ``peer`` is the name of its key, empty where that of any member will do."""

    host: str
    port: int
    tls: bool
    peer: str = ""


@dataclass(frozen=True, slots=True)
class LanSection:
    """``[lan]``: blocks and announcements over HTTP, without a broker; empty values neither serve nor ask.

    ``serve`` is where this peer answers others, as HOST:PORT, or ``auto``: at all addresses of this machine, the first
    free port from 8733 on. ``peers`` are the addresses of members that serve, with spaces between them, as
    ``http://HOST:PORT[/PEER]`` or ``https://HOST:PORT/PEER``. ``beacon`` lets others of the network know who serves
    here, and finds members again whose address is another one. ``timeout`` is how many seconds a call may take.
    At most so many ``connections`` are open at a time, ``per_address`` of them of one machine, and ``bytes_per_second``
    of blocks go out, for all together.
    """

    serve: str = ""
    peers: str = ""
    beacon: bool = True
    timeout: float = 10.0
    connections: int = 32
    per_address: int = 8
    bytes_per_second: int = 4 << 20

    def __post_init__(self) -> None:
        if not 0.5 <= self.timeout <= 600:
            raise ConfigurationError(f"lan.timeout is {self.timeout}", "use seconds, from 0.5 to 600")
        for key, least, most in (
            ("connections", 1, 1024),
            ("per_address", 1, 1024),
            ("bytes_per_second", 1024, 10**12),
        ):
            if not least <= getattr(self, key) <= most:
                problem = f"lan.{key} is {getattr(self, key)}"
                raise ConfigurationError(problem, f"use a number from {least} to {most}")
        if self.serve and self.serve != AUTO:
            self.place()
        self.addresses()

    @property
    def is_used(self) -> bool:
        """Return True if it links to other machines."""
        return bool(self.serve or self.peers.strip())

    def place(self) -> tuple[str, int]:
        """Return host and port to serve at; raises ConfigurationError."""
        remedy = f'use "{AUTO}", or HOST:PORT of this machine, such as 0.0.0.0:8733, [::]:8733 or 127.0.0.1:8733'
        wrong = ConfigurationError(f"lan.serve is {without_secrets(self.serve)!r}", remedy)
        _, host, port, path = _parse_url(f"http://{self.serve}", ("http",), wrong)
        if path or port is None:
            raise wrong
        return host, port

    def addresses(self) -> list[MemberAddress]:
        """Return where members serve, in order; raises ConfigurationError."""
        found = []
        for url in self.peers.split():
            shown = without_secrets(url)
            remedy = "use http://HOST:PORT or https://HOST:PORT/PEER, with the peer's name of 52 characters"
            wrong = ConfigurationError(f"lan.peers holds {shown!r}", remedy)
            scheme, host, port, path = _parse_url(url, ("http", "https"), wrong)
            peer = path.strip("/")
            if port is None or (peer and not re.fullmatch("[a-z2-7]{51}[aq]", peer)):
                raise wrong
            if scheme == "https" and not peer:
                problem = f"lan.peers holds {shown!r} without the name of the peer that serves there"
                raise ConfigurationError(problem, "add it, as its status shows it: https://HOST:PORT/PEER")
            found.append(MemberAddress(host, port, scheme == "https", peer))
        return found


def is_own_machine(host: str) -> bool:
    """Return True if what is sent there stays on this machine."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def check_client_id(key: str, client_id: str) -> None:
    """Raise ConfigurationError unless ``client_id`` is empty or a text that a broker can take."""
    if not client_id.isprintable() or client_id.strip() != client_id or len(client_id.encode()) > _CLIENT_ID_BYTES:
        remedy = f"use letters, digits, - and _, at most {_CLIENT_ID_BYTES} bytes"
        raise ConfigurationError(f"{key} is {client_id[:_MOST_SHOWN]!r}", remedy)


def _topic_prefix(key: str, text: str) -> str:
    """Return a prefix without slashes around it, in the one form that all peers write; raises ConfigurationError."""
    prefix = text.strip("/")
    if not prefix.isascii():
        from unicodedata import normalize  # noqa: PLC0415 - a megabyte of tables

        prefix = normalize("NFC", prefix)
    words = prefix.split("/")
    is_plain = prefix.isprintable() and not set("#+") & set(prefix) and prefix[:1] != "$"
    if not is_plain or not all(words) or [w.strip() for w in words] != words or len(prefix.encode()) > _PREFIX_BYTES:
        raise ConfigurationError(
            f"{key} is {text[:_MOST_SHOWN]!r}",
            f"use words with one / between them, none of #, + and a leading $, at most {_PREFIX_BYTES} bytes",
        )
    return prefix


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Raise ConfigurationError unless ``value`` is one of ``choices``; ``key`` is section.name."""
    if value not in choices:
        raise ConfigurationError(f"{key} is {value!r}", f"use {', '.join(choices[:-1])} or {choices[-1]}")


def check_holdout(section: str, holdout: float) -> None:
    """Raise ConfigurationError unless ``holdout`` is a share of the data that leaves some to train on."""
    if not 0 <= holdout < 1:
        raise ConfigurationError(f"{section}.holdout is {holdout}", "use a share from 0 to below 1")
