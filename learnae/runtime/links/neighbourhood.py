"""What a peer says of itself to the machines of its network, and what it hears of the swarm's other members there."""

from collections.abc import Callable

from learnae.adapters.lan.beacons import Beacon, open_name, sealed_name, sealed_names
from learnae.adapters.lan.discovery import BeaconService
from learnae.adapters.lan.neighbours import Neighbours
from learnae.adapters.lan.whereabouts import Place, Whereabouts
from learnae.adapters.local.clock import SystemClock
from learnae.runtime.workspace import Workspace


class Neighbourhood:
    """Knows by beacons where members serve; says so of this peer if its ``port`` is not 0, once it was begun."""

    def __init__(self, workspace: Workspace, is_sealed: bool, admits: Callable[[bytes], bool], port: int) -> None:
        self._identity, self._swarm = workspace.identity, workspace.swarm.manifest.swarm
        self._root = workspace.secrets.root if is_sealed and workspace.secrets else None
        self._admits, self._port = admits, port
        self._neighbours = Neighbours(workspace.errors, own=self._identity.author)
        self._service: BeaconService | None = None

    def begin(self) -> None:
        """Say and hear from now on."""
        self._service = BeaconService(self._beacons, self._neighbours)

    def state(self) -> str:
        """Return what the status says of it."""
        return self._service.state() if self._service else ""

    def close(self) -> None:
        """Say and hear no more."""
        if self._service:
            self._service.close()

    def whereabouts(self, place: Place, key: bytes | None) -> Whereabouts:
        """Return what knows where the member is that is configured at ``place``."""
        return Whereabouts(place, key, self._neighbours, self._names, self._admits, self._ask)

    def _ask(self) -> None:
        if self._service:
            self._service.ask()

    def _beacons(self) -> list[bytes]:
        if not self._port:
            return []
        name = sealed_name(self._root, SystemClock().now()) if self._root else open_name(self._swarm)
        return [Beacon(name, self._identity.author, self._port).to_bytes(self._identity)]

    def _names(self) -> frozenset[bytes]:
        """Return how beacons name the swarm now."""
        return sealed_names(self._root, SystemClock().now()) if self._root else frozenset([open_name(self._swarm)])
