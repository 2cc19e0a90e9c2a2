"""The same by mDNS: ``_learnae._tcp``, with the package zeroconf, in commands alone.

TXT: ``v=1``, and where an open swarm is served ``swarm=`` (8 bytes) and ``peer=`` (32 bytes), both in hex; of an offer
``peer=`` and ``offer=`` (its number). A sealed swarm's is not said: it changes daily.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from typing import TYPE_CHECKING

from learnae.adapters.lan.beacons import Beacon
from learnae.adapters.lan.neighbours import Neighbour, Neighbours
from learnae.errors import EncodingError, PeerError
from learnae.system.installation import is_installed

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

_log = logging.getLogger(__name__)

SERVICE = "_learnae._tcp"
_TYPE = f"{SERVICE}.local."
_RESOLVE_MS = 1000
_MAX_SERVICES = 64  # looked at in one browse
_MAX_ADDRESSES = 4  # of one service


class MdnsBrowser:
    """Notes what mDNS finds as neighbours, in a thread, while the context lasts; nothing without zeroconf."""

    def __init__(self, neighbours: Neighbours, is_wanted: bool = True) -> None:
        self._neighbours = neighbours
        self._is_wanted = is_wanted and is_installed("zeroconf")
        self._names = queue.Queue[str](_MAX_SERVICES)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> MdnsBrowser:
        if self._is_wanted:
            self._thread = threading.Thread(target=self._run, name="mdns", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        from zeroconf import Error, ServiceBrowser, Zeroconf  # noqa: PLC0415 - the extra lan

        try:
            with contextlib.closing(Zeroconf()) as zeroconf:
                ServiceBrowser(zeroconf, _TYPE, handlers=[self._hear])
                looked_at = 0
                while not self._closing.is_set() and looked_at < _MAX_SERVICES:
                    with contextlib.suppress(queue.Empty):
                        self._look_at(zeroconf, self._names.get(timeout=0.1))
                        looked_at += 1
                self._closing.wait()
        except (OSError, Error) as error:
            _log.info("no mDNS here: %s", error)

    def _hear(self, name: str, **_: object) -> None:
        """Put a name into the queue; more than it holds are lost, and neighbours go by age."""
        with contextlib.suppress(queue.Full):
            self._names.put_nowait(name)

    def _look_at(self, zeroconf: Zeroconf, name: str) -> None:
        from zeroconf import Error  # noqa: PLC0415

        try:
            info = zeroconf.get_service_info(_TYPE, name, timeout=_RESOLVE_MS)
            for neighbour in _neighbours(info) if info else ():
                self._neighbours.note(neighbour)
        except (PeerError, Error) as error:  # also a name that is none
            _log.info("mDNS: %s", error)


class MdnsOffer:
    """Announces a beacon by mDNS while the context lasts; nothing without zeroconf."""

    def __init__(self, beacon: Beacon) -> None:
        self._beacon = beacon
        self._zeroconf: Zeroconf | None = None

    def __enter__(self) -> MdnsOffer:
        if is_installed("zeroconf"):
            from zeroconf import Error  # noqa: PLC0415

            try:
                self._register()
            except (OSError, Error) as error:
                _log.info("no mDNS here: %s", error)
        return self

    def __exit__(self, *_: object) -> None:
        if self._zeroconf:
            self._zeroconf.close()  # says goodbye, too

    def _register(self) -> None:
        from ifaddr import get_adapters  # noqa: PLC0415 - zeroconf needs it
        from zeroconf import ServiceInfo, Zeroconf  # noqa: PLC0415 - the extra lan

        ips = [str(each.ip) for adapter in get_adapters() for each in adapter.ips if each.is_IPv4]
        addresses = [ip for ip in ips if not ip.startswith("127.")] or ips
        name = f"{self._beacon.number}-{self._beacon.peer[:6].hex()}.{_TYPE}"
        properties = {"v": "1", "peer": self._beacon.peer.hex(), "offer": str(self._beacon.number)}
        self._zeroconf = Zeroconf()
        info = ServiceInfo(_TYPE, name, self._beacon.port, properties=properties, parsed_addresses=addresses)
        self._zeroconf.register_service(info, cooperating_responders=True)


def _neighbours(info: ServiceInfo) -> list[Neighbour]:
    """Return what a service says; raises EncodingError."""
    texts = {key: value or b"" for key, value in info.properties.items()}
    try:
        swarm, peer = (bytes.fromhex(texts.get(key, b"").decode("ascii")) for key in (b"swarm", b"peer"))
        number = int(texts.get(b"offer", b"0")[:3])
    except ValueError as error:
        raise EncodingError("a service whose TXT is not as it should be") from error
    if texts.get(b"v") != b"1" or len(swarm) not in (0, 8) or len(peer) not in (0, 32) or not info.port:
        raise EncodingError("a service of another version, or whose TXT is not as it should be")
    if not 0 <= number <= 255:
        raise EncodingError("a service with a number that no offer has")
    usable = [each for each in info.parsed_scoped_addresses() if not each.startswith("fe80:") or "%" in each]
    addresses = usable[:_MAX_ADDRESSES]
    return [Neighbour(address, info.port, swarm, peer, number, "mdns") for address in addresses]
