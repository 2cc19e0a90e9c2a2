"""Sections of the configuration that every role has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from learnae.basics.overriding import override
from learnae.config.keys import Range, check_keys, setting
from learnae.config.places import Place, Secret, SwarmPlace
from learnae.errors import ConfigurationError
from learnae.system.paths import check_peer_name, peer_directory
from learnae.text import without_secrets

LIVE = "live"  # the history that a checkpoint does not replace
AUTO = "auto"  # of lan.serve: at all addresses of this machine
TIMEOUT = Range(0.5, 600, "seconds")
LEAST_HEARD = 8  # below, zones would be of one peer or two
HOLDOUT = Range(0, 1, "a share", below=True)


@dataclass(frozen=True, slots=True)
class PeerSection:
    """``[peer]``: this peer, and how much of the swarm it keeps."""

    name: str = setting(
        "",
        "of the peer on this machine; its key and state are in `peers/NAME` of the home",
        stands_for="the role's name",
    )
    state: Place = setting("", "another directory for them", stands_for="`peers/NAME` of the home")
    follow: int = setting(
        0, "how many others are followed", Range(0, None, "a number of peers", zero="64 on a trainer, 8 on an agent")
    )
    hears: int = setting(
        0,
        "live peers up to which all are heard; of a larger swarm about so many",
        Range(LEAST_HEARD, None, "a number of peers", zero="32, or as many as are followed"),
    )
    history: str = setting(
        LIVE, "`all`: an archive, which keeps everything that was ever said in the swarm", choices=(LIVE, "all")
    )

    def __post_init__(self) -> None:
        check_keys(self, "peer")
        if self.name:
            check_peer_name("peer.name", self.name)

    def directory(self, role: str) -> Path:
        """Return the peer's own directory."""
        return Path(self.state) if self.state else peer_directory(self.name or role)


@dataclass(frozen=True, slots=True)
class SwarmSection:
    """``[swarm]``: which swarm it is."""

    id: SwarmPlace = setting(
        "", "id, name or directory of the swarm, or a copy of its `manifest.cbor`", stands_for="the only one here"
    )


@dataclass(frozen=True, slots=True)
class TrainSection:
    """``[train]``: what every role that trains has."""

    stop_when: int = setting(
        500,
        "own updates without a gain after which the peer settles: one last update, then it hears, merges and is quiet "
        "until its data has grown, a new member speaks or the consensus has moved",
        Range(0, 1_000_000, "updates", zero="never"),
    )
    personal: bool = setting(True, "keep a model for this machine alone beside the common one")

    def __post_init__(self) -> None:
        check_keys(self, "train")


@dataclass(frozen=True, slots=True)
class PublishSection:
    """``[publish]``: how often, and how much."""

    every: float = setting(
        0.0,
        "seconds at least between two updates",
        Range(
            0,
            86_400,
            "seconds",
            zero="1 for an agent and 0.75 for a trainer where all peers are on this machine, 2 over HTTP, MQTT or "
            "IPFS, 60 over IOTA alone, with `bytes_per_day`, or with differential privacy, where rows pay for each",
        ),
    )
    bytes_per_hour: int = setting(
        0,
        "what own updates may put out; each is paid off before the next, and deltas are the finest of `q8`, `q4`, "
        "`ternary` and `sign` with which one fits into each `every`, none finer than the swarm's",
        Range(0, 10**15, "bytes", zero="no limit"),
    )

    def __post_init__(self) -> None:
        check_keys(self, "publish")


PLAIN, SEALED, OFF = "plain", "sealed", "off"
BROKER_URLS = "mqtt://HOST[:PORT], mqtts://HOST[:PORT], ws://HOST[:PORT][/PATH] or wss://HOST[:PORT][/PATH]"
_BROKER_SHOWN = "`mqtt[s]://HOST[:PORT]` or `ws[s]://HOST[:PORT][/PATH]`"
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
    """``[mqtt]``: a broker for announcements, blocks and the monitor.

    Names of files that are not absolute are looked for in ``$CREDENTIALS_DIRECTORY`` first.
    """

    broker: str = setting("", f"{_BROKER_SHOWN}; names and passwords go into files", stands_for="none")
    user: str = setting("", "the name by which the broker knows this peer", stands_for="none, or that in `user_file`")
    user_file: Secret = setting("", "a file with that name")
    password_file: Secret = setting("", "a file with the password, which is read at the start")
    ca_file: Secret = setting("", "what signed the broker's certificate, in PEM", stands_for="what the system trusts")
    cert_file: Secret = setting("", "this peer's own certificate, in PEM, with `key_file`")
    key_file: Secret = setting("", "the private key of `cert_file`")
    client_id: str = setting(
        "", "what the peer calls itself at the broker; those of its sources begin with it", stands_for="made of its key"
    )
    prefix: str = setting("learnae/1", "what every topic begins with")
    keep_alive: int = setting(
        30, "seconds; after one and a half times as many of silence a peer is offline", Range(1, 3600, "seconds")
    )
    monitor: str = setting(
        "",
        "how the peer is shown there: to all who may read, to members and viewers, or not at all",
        choices=("", PLAIN, SEALED, OFF),
        stands_for="`plain` in an open swarm, `sealed` in a sealed one",
    )
    gossip: bool = setting(True, "announcements go there")
    exchange: bool = setting(True, "blocks go there")
    home_assistant: bool = setting(False, "also announce the peer to Home Assistant")
    home_assistant_prefix: str = setting("homeassistant", "as Home Assistant's MQTT integration has it")
    plain: bool = setting(False, "`true`: the password may go to another machine without TLS, without a warning")
    queue_rows: int = setting(
        20_000, "events of the monitor that wait on disk while the broker is away", Range(1, None, "rows")
    )
    queue_bytes: int = setting(8 << 20, "the same in bytes", Range(1 << 16, None, "bytes"))
    bytes_per_second: int = setting(
        1 << 20,
        "of blocks that others ask for, for all together; 32 seconds' worth at once",
        Range(1024, 10**12, "bytes"),
    )

    def __post_init__(self) -> None:
        if self.broker:
            self.address()
        check_client_id("mqtt.client_id", self.client_id)
        check_keys(self, "mqtt")
        self.check_readable(self.monitor)
        for name in ("prefix", "home_assistant_prefix"):
            object.__setattr__(self, name, _topic_prefix(f"mqtt.{name}", getattr(self, name)))
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigurationError("one of mqtt.cert_file and mqtt.key_file is missing", "set both")
        if self.password_file and not (self.user or self.user_file):
            raise ConfigurationError("mqtt.password_file is set and no user", "set mqtt.user or mqtt.user_file")

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
    """``[ipfs]``: gateways to read from; a machine without a daemon has no more."""

    gateways: str = setting("", "trustless gateways to read from, as URLs with spaces between them", stands_for="none")
    timeout: float = setting(10.0, "seconds that a call may take", TIMEOUT)
    ca_file: Secret = setting(
        "",
        "what signed the certificates at `https`, in PEM: a certificate that it did not sign is refused",
        stands_for="what the system trusts",
    )

    def __post_init__(self) -> None:
        check_keys(self, "ipfs")
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
    """``[ipfs]``: a Kubo daemon, and gateways to read from."""

    api: str = setting(
        "",
        "the RPC of a Kubo daemon as a multiaddress, such as `/ip4/127.0.0.1/tcp/5001`, `/ip6/::1/tcp/5001`, "
        "`/unix/run/ipfs/api.sock` (the path as it is, after `/unix`) or `/dns/HOST/tcp/443/https`",
        stands_for="none",
    )
    token_file: Secret = setting(
        "",
        "a file with the credential, as in Kubo's `API.Authorizations`: `bearer:TOKEN` or `basic:USER:PASSWORD`; it is "
        "never sent unencrypted to another machine",
    )
    connect: str = setting(
        "",
        "other daemons, as `ipfs id` shows them, with spaces between them: connected at the start and whenever the "
        "link is lost",
    )
    pubsub: bool = setting(True, "heads are also announced over Kubo's pubsub")

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
    """``[exchange]``: who is asked for a block."""

    order: str = setting(
        " ".join(EXCHANGES), "who is asked first for a block that is not here; those that are not named come last"
    )

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
    """``[iota]``: announcements over a node of the legacy protocol."""

    node: str = setting(
        "", "its URL, such as `http://127.0.0.1:14265`, without a name or a password", stands_for="none"
    )
    pow: str = setting("local", "who does the proof of work: this machine or the node", choices=("local", "node"))
    mwm: int = setting(0, "minimum weight magnitude", Range(1, 18, "a number", zero="the node is asked"))
    poll: float = setting(5.0, "seconds between two looks", Range(0.1, 600, "seconds"))
    every: float = setting(30.0, "seconds at least between two own announcements", Range(0.1, 600, "seconds"))
    coordinator: str = setting("", "address of the only coordinator whose Tangle will do, 81 trytes", stands_for="any")
    events: str = setting("", "the node's ZMQ stream, such as `tcp://127.0.0.1:5556`", stands_for="none: it is polled")
    ca_file: Secret = setting(
        "", "what signed the certificate of a node at `https`, in PEM", stands_for="what the system trusts"
    )

    def __post_init__(self) -> None:
        if self.node:
            remedy = "use its URL, such as http://127.0.0.1:14265, without a name or a password"
            wrong = ConfigurationError(f"iota.node is {without_secrets(self.node)!r}", remedy)
            _parse_url(self.node, ("http", "https"), wrong)
        check_keys(self, "iota")
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
    """``[lan]``: blocks and announcements over HTTP, without a broker; empty values neither serve nor ask."""

    serve: str = setting(
        "",
        "where others are answered: `auto` is all addresses of this machine and the first free port from 8733 to 8748; "
        "or `HOST:PORT` of this machine, `0.0.0.0:8733` for IPv4, `[::]:8733` for both, `127.0.0.1:8733` for this "
        "machine alone",
        stands_for="nowhere",
    )
    peers: str = setting(
        "", "members that serve, with spaces between them: `https://HOST:PORT/PEER`, or `http://HOST:PORT[/PEER]`"
    )
    beacon: bool = setting(
        True, "say to the network who serves here, and find members again whose address is another one"
    )
    timeout: float = setting(10.0, "seconds that a call may take, and a caller for its request", TIMEOUT)
    connections: int = setting(32, "open at a time; a peer that calls needs about five", Range(1, 1024))
    per_address: int = setting(
        8,
        "of one IPv4 address, or of one IPv6 network of 64 bits; more where several peers of one machine call",
        Range(1, 1024),
    )
    bytes_per_second: int = setting(
        4 << 20,
        "of blocks that go out, for all together; four seconds' worth, at least 8 MiB, at once; at most half of it to "
        "one address",
        Range(1024, 10**12, "bytes"),
    )

    def __post_init__(self) -> None:
        check_keys(self, "lan")
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


def check_client_id(name: str, client_id: str) -> None:
    """Raise ConfigurationError unless ``client_id`` is empty or a text that a broker can take."""
    if not client_id.isprintable() or client_id.strip() != client_id or len(client_id.encode()) > _CLIENT_ID_BYTES:
        remedy = f"use letters, digits, - and _, at most {_CLIENT_ID_BYTES} bytes"
        raise ConfigurationError(f"{name} is {client_id[:_MOST_SHOWN]!r}", remedy)


def _topic_prefix(name: str, text: str) -> str:
    """Return a prefix without slashes around it, in the one form that all peers write; raises ConfigurationError."""
    prefix = text.strip("/")
    if not prefix.isascii():
        from unicodedata import normalize  # noqa: PLC0415 - a megabyte of tables

        prefix = normalize("NFC", prefix)
    words = prefix.split("/")
    is_plain = prefix.isprintable() and not set("#+") & set(prefix) and prefix[:1] != "$"
    if not is_plain or not all(words) or [w.strip() for w in words] != words or len(prefix.encode()) > _PREFIX_BYTES:
        raise ConfigurationError(
            f"{name} is {text[:_MOST_SHOWN]!r}",
            f"use words with one / between them, none of #, + and a leading $, at most {_PREFIX_BYTES} bytes",
        )
    return prefix
