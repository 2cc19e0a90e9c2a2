"""What an invite needs beside a registrar: who signs it, where its holder finds members, and its picture."""

from collections.abc import Callable

from learnae.config.sections import LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.ipld.cid import Cid
from learnae.membership.codes.compact_addresses import pack
from learnae.membership.codes.invite_code import MAX_ADDRESS_BYTES, MAX_ADDRESSES
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.admission.serving import served_addresses
from learnae.runtime.registrar import Registrar
from learnae.system.paths import last_status, peers_here


def inviter(registrar: Registrar) -> Identity:
    """Return the key of the member of this machine that has last run: who has invited welcomes first, and at once.

    Raises ConfigurationError if there is none.
    """
    times = {status.get("peer"): status.get("time") for status in map(last_status, peers_here())}
    members = registrar.members_here() or [registrar.member_here()]
    return max(members, key=lambda member: times.get(peer_name(member.author)) or 0)


def meeting_addresses(
    swarm: Cid, mqtt: MqttSection, lan: Callable[[], LanSection], is_spoken: bool, on_wait: Callable[[], None]
) -> list[str]:
    """Return where the holder of a code finds members: at the broker, or at a peer that serves; here this one first
    if the code ``is_spoken``. Calls ``on_wait`` before it waits for one. Raises ConfigurationError.
    """
    if mqtt.broker and not is_spoken:
        return [mqtt.broker]
    found, room = list[str](), MAX_ADDRESS_BYTES
    for address in served_addresses(swarm, lan(), on_wait):
        if len(found) < MAX_ADDRESSES and (size := len(pack(address))) <= room:
            found, room = [*found, address], room - size
    if not found and mqtt.broker:
        return [mqtt.broker]
    if not found and is_spoken:
        raise ConfigurationError(
            "no peer of this machine serves others of the network",
            'join with --lan; or write below [lan]: serve = "auto", and start the peer again',
        )
    return found


def qr_modules(text: str) -> list[list[bool]]:
    """Return the rows of the smallest QR code for digits and capitals, True where it is dark."""
    import segno  # noqa: PLC0415 - 11 MB, for this alone

    return [[bool(module) for module in row] for row in segno.make_qr(text, error="l", mode="alphanumeric").matrix]
