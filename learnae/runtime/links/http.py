"""``[lan]``: exchange and gossip over HTTP, with the members that serve and those that call."""

from collections.abc import Callable

from learnae.adapters.http.certificate import key_of, server_context
from learnae.adapters.http.gossip import HttpGossip
from learnae.adapters.http.member import MemberExchange, MemberLink, make_client
from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.serving.server import HttpServer, ServerLimits, free_place
from learnae.adapters.http.serving.service import SwarmService
from learnae.adapters.http.serving.uploads import HttpUploads
from learnae.config.sections import AUTO, LanSection, MemberAddress, is_own_machine
from learnae.errors import ConfigurationError
from learnae.ports import InviteDesk
from learnae.runtime.link_set import LinkSet
from learnae.runtime.links.neighbourhood import Neighbourhood
from learnae.runtime.workspace import Workspace
from learnae.system.paths import KEY_FILE

UPLOADS = "callers over http"  # of no kind that is ordered, so that it comes last: a caller is waited for


def connect_http(
    section: LanSection,
    workspace: Workspace,
    is_sealed: bool = False,
    meeting: str = "",
    admits: Callable[[bytes], bool] = lambda _: True,
    purse: Callable[[int], bool] | None = None,
) -> LinkSet:
    """Serve, and link to the members of ``[lan]``; raises ConfigurationError.

    ``is_sealed``: what the swarm's members say can be read by them alone, so that it may cross the network as it is.
    ``meeting`` is the swarm's name in addresses, its CID if it is empty; ``admits`` says whose announcements count.
    What goes out to others is spent from the ``purse``.
    """
    swarm = workspace.swarm.manifest.swarm
    meeting = meeting or str(swarm)
    limits = ServerLimits(section.connections, section.per_address, section.timeout, rate=section.bytes_per_second)
    own, spend = OwnVector(workspace.identity, swarm), limits.bucket(purse)
    gossip = HttpGossip(own)
    links = LinkSet(gossips={"http": gossip}, meters=(spend.taken,), closers=(own.close,))
    host, port = (free_place() if section.serve == AUTO else section.place()) if section.serve else ("", 0)
    neighbourhood = Neighbourhood(workspace, is_sealed, admits, 0 if is_own_machine(host) else port)
    for address in section.addresses():
        check_private(address, is_sealed)
        place, key = (address.host, address.port), key_of(address.peer) if address.peer else None
        whereabouts = None
        if not is_own_machine(address.host):  # that is a tunnel's end, perhaps: what goes there goes nowhere else
            whereabouts = neighbourhood.whereabouts(place, key)
        reads, speaks = (make_client(*place, key, address.tls, whereabouts) for _ in range(2))
        link = MemberLink(
            speaks, key, swarm, meeting, own, gossip, workspace.store.local, workspace.errors, spend, section.timeout,
            whereabouts,
        )  # fmt: skip
        link.start()
        name, states = speaks.name.replace("member", "http", 1), {f"{speaks.name} gossip": link.state}
        links += LinkSet({name: MemberExchange(reads, section.timeout)}, states=states, closers=(link.close,))
    if host:
        uploads = HttpUploads(own)
        invites, desks = _open_desk(workspace)
        service = SwarmService(swarm, meeting, workspace.store.local.get, own, gossip, uploads, spend, admits, invites)
        is_plain = is_sealed or is_own_machine(host)
        tls = None if is_plain else server_context(workspace.identity, workspace.directory / KEY_FILE)
        server = HttpServer(host, port, service, workspace.errors, limits, tls)
        server.start()
        links += LinkSet({UPLOADS: uploads}, states={"http server": server.state}, closers=(server.close,), desks=desks)
    hosts = [*filter(None, [host]), *(address.host for address in section.addresses())]
    if section.beacon and not all(map(is_own_machine, hosts)):
        neighbourhood.begin()
        links += LinkSet(states={"beacon": neighbourhood.state}, closers=(neighbourhood.close,))
    return links


def _open_desk(workspace: Workspace) -> tuple[Callable[[str, bytes], bytes | None], tuple[InviteDesk, ...]]:
    """Return what answers questions on the invites of a place, and the desk behind it; none in an open swarm."""
    if workspace.swarm.manifest.membership is None:
        return lambda *_: None, ()
    from learnae.adapters.http.invites.invite_desk import HttpInviteDesk  # noqa: PLC0415 - not in open swarms

    desk = HttpInviteDesk(workspace.errors)
    return desk.ask, (desk,)


def check_private(address: MemberAddress, is_sealed: bool) -> None:
    """Raise ConfigurationError if an open swarm's weights and summaries were to cross the network in the clear."""
    if not (is_sealed or address.tls or is_own_machine(address.host)):
        raise ConfigurationError(
            f"lan.peers holds http://{address.host}:{address.port}, and this swarm is open: what its peers say would "
            "cross the network for all to read and to change",
            f"use https://{address.host}:{address.port}/PEER, with the name of the peer that serves there",
        )
