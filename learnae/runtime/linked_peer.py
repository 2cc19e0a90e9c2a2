"""A peer with all that it holds open: composed here, and left here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from learnae.adapters.composite.gossip import LOCAL, Gossips
from learnae.adapters.composite.metered import MeteredStore
from learnae.adapters.composite.monitor import Monitors
from learnae.adapters.local.bans import Bans
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.figures_file import FiguresFile
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.adapters.local.status_file import StatusFile
from learnae.adapters.local.vector_files import keep
from learnae.errors import ConfigurationError, NotWrittenError, StateError
from learnae.ipld.cid import DAG_CBOR
from learnae.peer.peer import Options, Peer, Ports, compose_peer
from learnae.ports import Clock, Learner, Monitor, Traffic
from learnae.protocol.limits import MINUTE
from learnae.runtime.keys_here import owner_key
from learnae.runtime.link_set import LinkSet
from learnae.runtime.private.shown import CommonMonitor, PrivateMonitor
from learnae.runtime.unmerging import Unmerging
from learnae.runtime.version_store import VersionKeeper
from learnae.runtime.workspace import Workspace
from learnae.system.paths import FIGURES_FILE, STATE_FILE, STATUS_FILE, last_status

_FOUNDING_MS = 10 * MINUTE  # in which a backup of the owner's key is not yet restored beside a swarm that goes on

if TYPE_CHECKING:
    from learnae.runtime.admission.doorkeeper import Doorkeeper


@dataclass(frozen=True, slots=True)
class LinkedPeer:
    """Holds a peer, its workspace, its links, the monitor of all places that show it, and its versions."""

    peer: Peer
    workspace: Workspace
    links: LinkSet
    monitor: Monitor
    versions: VersionKeeper
    unmerging: Unmerging
    doorkeepers: tuple[Doorkeeper, ...] = ()

    def serve(self) -> None:
        """Answer machines that want to come in, and count what went to callers; the peer welcomes at its next tick."""
        self.peer.traffic.bytes_out += sum(meter() for meter in self.links.meters)
        for doorkeeper in self.doorkeepers:
            doorkeeper.serve()

    def leave(self) -> None:
        """Save the peer, show its last status, and release the workspace, even if the disk takes nothing."""
        try:
            self.peer.save()
            self.versions.keep_last()
        except NotWrittenError as error:
            self.peer.endure(error)
            raise
        finally:
            self.monitor.close(self.peer.status())
            self.let_go()

    def let_go(self) -> None:
        """Release all that is held, and save nothing: the peer goes on from what it saved last."""
        self.workspace.store.close()
        self.links.close()
        self.workspace.release()


def build_peer(workspace: Workspace, learner: Learner, options: Options, links: LinkSet | None = None) -> LinkedPeer:
    """Compose the peer of ``workspace``; raises StateError if its saved state does not fit.

    Raises ConfigurationError for a peer that was let in to work in another role.
    """
    if not workspace.gate.fits(workspace.identity.author, options.role):
        raise ConfigurationError(
            f"peer {workspace.directory.name!r} was let in for another role than {options.role}",
            "run it in that one, or join under another --name",
        )
    links, manifest, traffic = links or LinkSet(), workspace.swarm.manifest, Traffic()
    options = replace(options, is_archive=workspace.is_archive)
    local = LocalGossip(workspace.swarm.directory, workspace.name, workspace.errors, workspace.gate.admits)
    gossip = Gossips({LOCAL: local, **links.gossips}, workspace.errors)
    remote = map(CommonMonitor if options.privacy() is None else PrivateMonitor, links.monitors)
    here = [StatusFile(workspace.directory / STATUS_FILE), FiguresFile(workspace.directory / FIGURES_FILE)]
    monitor = Monitors([*here, *remote])
    store = MeteredStore(workspace.store, traffic, manifest.start)
    state = LocalStateStore(workspace.directory / STATE_FILE)
    ports = Ports(store, gossip, learner, state, monitor, SystemClock(), partial(keep, workspace.directory))
    is_back = last_status(workspace.directory).get("peer") == workspace.name  # with this key
    try:
        peer = compose_peer(
            workspace.identity, manifest, ports, options, workspace.errors, traffic, workspace.opener,
            is_back=is_back, is_first=_is_first(workspace, ports.clock), gate=workspace.gate, secrets=workspace.secrets,
        )  # fmt: skip
    except StateError as error:
        raise type(error)(f"{workspace.directory}: {error.problem}", error.remedy) from error
    workspace.store.join(links.exchanges)
    if links.exchanges and not manifest.is_sealed:  # a peer that knows the swarm's id can get its definition, too
        workspace.store.put(DAG_CBOR, manifest.to_bytes())
    keeper = VersionKeeper(workspace.directory, peer)
    unmerging = Unmerging(peer, Bans(workspace.swarm.directory), keeper)
    return LinkedPeer(peer, workspace, links, monitor, keeper, unmerging, _doorkeepers(workspace, links, ports.clock))


def _is_first(workspace: Workspace, clock: Clock) -> bool:
    """Return True if no other peer can have spoken: the swarm was made here a moment ago, and no other is a member."""
    ledger, manifest = workspace.gate.ledger, workspace.swarm.manifest
    if ledger is None or not 0 <= clock.now() - manifest.created < _FOUNDING_MS:  # or it may be a backup's
        return False
    with suppress(StateError):  # the owner's key is another user's
        owner = owner_key(workspace.swarm.directory)
        return owner is not None and set(ledger.roster().members) == {owner.author, workspace.identity.author}
    return False


def _doorkeepers(workspace: Workspace, links: LinkSet, clock: Clock) -> tuple[Doorkeeper, ...]:
    """Return what answers at the desks of ``links``; there are none in an open swarm."""
    if not links.desks:
        return ()
    from learnae.runtime.admission.doorkeeper import Doorkeeper  # noqa: PLC0415 - not in open swarms

    shared = workspace.gate, workspace.store, workspace.errors, clock.now
    author, manifest = workspace.identity.author, workspace.swarm.manifest
    return tuple(Doorkeeper(desk, author, manifest, *shared) for desk in links.desks)
