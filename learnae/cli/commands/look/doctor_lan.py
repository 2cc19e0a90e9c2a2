"""``learnae doctor`` on ``[lan]``: whether a peer of this machine can serve, and whether members answer."""

import socket
from collections.abc import Iterator

from learnae.adapters.http.certificate import key_of
from learnae.adapters.http.client import USER_AGENT, SilenceError
from learnae.adapters.http.member import make_client
from learnae.adapters.http.serving.server import free_place, place_of
from learnae.cli.output import BROKEN, MISSING, OK, Finding
from learnae.config.loading import find_section
from learnae.config.sections import AUTO, LanSection, MemberAddress, is_own_machine
from learnae.errors import LearnaeError, TransportError
from learnae.system.paths import last_status, peers_here

_ANSWER_SECONDS = 5.0  # a person waits for each
_PROBE = "/ipfs/bafkqaaa?format=raw"  # the empty block, which every gateway has


def lan_findings() -> Iterator[Finding]:
    """Check where this machine serves and whom it calls; yield nothing where neither is configured."""
    try:
        section = find_section(LanSection, "lan")
        addresses = section.addresses()
        if section.serve:
            yield _serving(section)
    except LearnaeError as error:
        yield Finding("LAN", BROKEN, error.problem, error.remedy)
        return
    for address in addresses:
        yield _member(address)


def _serving(section: LanSection) -> Finding:
    """Return whether a peer here serves; where none runs, whether one could."""
    thing, states = "LAN serving", [_state(last_status(directory)) for directory in peers_here()]
    for state in states:
        if (place := place_of(state)) and _answers(*place):
            if is_own_machine(place[0]):
                return Finding(thing, MISSING, f"{state}: this machine alone reaches it", 'serve = "auto", for others')
            return Finding(thing, OK, state, "")
    host, port = free_place() if section.serve == AUTO else section.place()
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        remedy = "stop what has the port, or choose another lan.serve"
        return Finding(thing, BROKEN, f"no peer can serve at {host}:{port}: {error.strerror or error}", remedy)
    away = next((state for state in states if state), "")
    found = f"{host}:{port} is free" + (f"; the last peer said: {away}" if away else "")
    return Finding(thing, MISSING, f"no peer serves now; {found}", "start it: trainer-node start, or learnae-agent run")


def _state(status: dict[str, object]) -> str:
    links = status.get("connections")
    said = links.get("http server") if isinstance(links, dict) else None
    return said if isinstance(said, str) else ""


def _answers(host: str, port: int) -> bool:
    """Return True if something listens there: a status may be of a peer that was killed."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - how this machine reaches it
    try:
        socket.create_connection((own, port), _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def _member(address: MemberAddress) -> Finding:
    key = key_of(address.peer) if address.peer else None
    client = make_client(address.host, address.port, key, address.tls)
    thing = f"LAN {client.name}"
    try:
        status = client.ask("GET", _PROBE, _ANSWER_SECONDS, USER_AGENT).status
    except SilenceError as error:
        remedy = "start its peer, and mind firewalls, guest networks and VLANs"
        return Finding(thing, BROKEN, f"it does not answer: {error}".rstrip(": "), remedy)
    except TransportError as error:
        return Finding(thing, BROKEN, error.problem, error.remedy)
    finally:
        client.close()
    if status != 200:
        return Finding(thing, BROKEN, f"it answers with status {status}", "another program has the address")
    how = "under the key in its address" if address.tls else "in the clear"
    return Finding(thing, OK, f"it answers {how}", "")
