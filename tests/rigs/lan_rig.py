"""Members of a swarm that exchange over HTTP on loopback, made of the product's own parts, without a peer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from daemon import HOST, free_port
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.http.certificate import server_context
from learnae.adapters.http.gossip import HttpGossip
from learnae.adapters.http.member import MemberExchange, MemberLink, make_client
from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.serving.server import HttpServer, ServerLimits
from learnae.adapters.http.serving.service import SwarmService
from learnae.adapters.http.serving.uploads import HttpUploads
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.identity import Identity

LATE_SECONDS = 60.0  # what is to come does come, however busy the machine is


class LanMember:
    """One machine: its store, its gossip, its server if it ``serves``, and its links to others."""

    def __init__(
        self,
        directory: Path,
        swarm: Cid,
        serves: bool = True,
        limits: ServerLimits | None = None,
        encrypted: bool = False,
        store: BlockService | None = None,
        port: int = 0,
    ) -> None:
        self.swarm, self.errors = swarm, ErrorLog()
        self.identity = Identity.load_or_create(directory / "key.pem")
        self.store = store or BlockService(LocalBlockStore(directory), self.errors)
        self.own = OwnVector(self.identity, swarm)
        self.gossip = HttpGossip(self.own)
        self.uploads = HttpUploads(self.own, 0.3, LATE_SECONDS)  # what is not here is asked for again
        self.port, self.encrypted = port or free_port(), encrypted
        self.links: list[MemberLink] = []
        limits = limits or ServerLimits(per_address=32)
        self.spend = limits.bucket()
        service = SwarmService(swarm, str(swarm), self.store.get, self.own, self.gossip, self.uploads, self.spend)
        tls = server_context(self.identity, directory / "key.pem") if encrypted else None
        self.server = HttpServer(HOST, self.port, service, self.errors, limits, tls)
        if serves:
            self.server.start()
            wait_for(lambda: self.server.state().startswith("serving"), "the server")

    @property
    def url(self) -> str:
        """Return where it serves."""
        return f"http{'s' if self.encrypted else ''}://{HOST}:{self.port}"

    def reader_of(self, other: LanMember) -> MemberExchange:
        """Return what reads the other's blocks."""
        client = make_client(HOST, other.port, other.identity.author, other.encrypted)
        return MemberExchange(client, LATE_SECONDS)

    def link_to(self, other: LanMember) -> MemberLink:
        """Exchange announcements with the other from now on."""
        client = make_client(HOST, other.port, other.identity.author, other.encrypted)
        link = MemberLink(
            client,
            other.identity.author,
            self.swarm,
            str(self.swarm),
            self.own,
            self.gossip,
            self.store,
            self.errors,
            self.spend,
            LATE_SECONDS,
        )
        self.links.append(link)
        link.start()
        return link

    def close(self) -> None:
        """End it all."""
        self.own.close()
        for link in self.links:
            link.close()
        self.uploads.close()
        self.server.close()
        self.store.close()


def new_swarm() -> Cid:
    """Return the name of a swarm of its own."""
    return Cid.of(DAG_CBOR, os.urandom(8))


def told(members: Sequence[LanMember]) -> bool:
    """Whether each has heard the newest of all others."""
    newest = {member.own.by: _time(member) for member in members}
    return all(
        member.gossip._times.get(by, -1) >= time
        for member in members
        for by, time in newest.items()
        if by != member.own.by
    )


def _time(member: LanMember) -> int:
    member.own.current()
    return member.own._time
