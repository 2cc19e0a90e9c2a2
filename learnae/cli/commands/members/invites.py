"""``learnae invite`` and ``uninvite``: permissions to join."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.members.desk import open_desk
from learnae.cli.output import human_time, print_fields, print_json
from learnae.cli.qr import terminal_picture
from learnae.config.loading import find_section
from learnae.config.sections import MqttSection, is_own_machine
from learnae.errors import ConfigurationError, TransportError
from learnae.ipld.cid import Cid
from learnae.membership.invite_code import InviteCode
from learnae.membership.policy import VOUCHED
from learnae.protocol.identity import PRIVATE_KEY_BYTES, Identity
from learnae.system.credentials import read_credential
from learnae.text import counted, shown

if TYPE_CHECKING:
    from learnae.membership.spoken_code import SpokenCode


def invite(options: argparse.Namespace) -> int:
    """Sign an invite, and print the code that grants it."""
    desk = open_desk(options)
    registrar, manifest = desk.registrar, desk.swarm.manifest
    if registrar.policy.kind == VOUCHED:
        raise ConfigurationError(
            f"members vouch for who comes into {manifest.name!r}", "give them the manifest; then: learnae admit PEER"
        )
    section = find_section(MqttSection, "mqtt")
    addresses = options.address or list(filter(None, [section.broker]))
    login = _login(section) if options.with_password else None
    InviteCode(manifest.swarm, bytes(PRIVATE_KEY_BYTES), tuple(addresses), login)  # refuses what does not fit
    member = registrar.member_here()
    expires = SystemClock().now() + options.expires
    record, seed = registrar.invite(member, options.uses, expires, options.role)
    registrar.announce()
    held = InviteCode(manifest.swarm, seed, tuple(addresses), login)
    code = held.to_text()
    joins = counted(options.uses, "join")
    grants = f"{joins} as {'agent or trainer' if options.role == 'any' else options.role}, and reading what is said"
    if options.json:
        print_json({"code": code, "invite": str(record.cid), "uses": options.uses, "expires": expires,
                    "role": options.role, "swarm": str(manifest.swarm)})  # fmt: skip
        return _offer(held, member, as_json=True) if options.aloud else 0
    picture, why_not = terminal_picture(code)
    print(f"{picture}\n{code}\n" if picture else f"{code}\n")
    if why_not:
        print(f"learnae: {why_not}", file=sys.stderr)
    print_fields({"grants": grants, "until": human_time(expires), "invite": str(record.cid)[-8:]})
    if not options.address and section.broker and is_own_machine(section.address().host):
        problem = f"the code names {section.broker}, which is another machine wherever else it is read"
        print(f"learnae: {problem}; give --address with a name that others reach", file=sys.stderr)
    print(f"\ntake it back with: learnae uninvite {str(record.cid)[-8:]}")
    return _offer(held, member) if options.aloud else 0


def _offer(code: InviteCode, member: Identity, as_json: bool = False) -> int:
    """Offer a code to a machine of this network, under one that is read aloud, until it has it."""
    from learnae.adapters.lan.rendezvous import offer_code  # noqa: PLC0415 - for this alone

    def say(spoken: SpokenCode, _port: int) -> None:
        if as_json:
            print_json({"spoken": str(spoken)})
        else:
            print(f"\nread aloud, to be typed on another machine of this network: learnae join {spoken}")
        sys.stdout.flush()

    if not offer_code(code, member, say):
        raise TransportError("no machine of this network has asked for the code in time", "type the long one there")
    if not as_json:
        print("it has the code")
    return 0


def _login(section: MqttSection) -> tuple[str, str]:
    """Return user and password of the configured broker; raises ConfigurationError without them."""
    user = read_credential(section.user_file, "mqtt.user_file") if section.user_file else section.user
    if not user or not section.password_file:
        raise ConfigurationError("--with-password, and no mqtt.user or mqtt.password_file", "leave it out, or set them")
    return user, read_credential(section.password_file, "mqtt.password_file")


def uninvite(options: argparse.Namespace) -> int:
    """Take open invites back."""
    desk = open_desk(options)
    registrar = desk.registrar
    open_ones = list(registrar.ledger.roster().invites)
    found = open_ones if options.all else [cid for cid in open_ones if _is_meant(options.invite, cid)]
    if not options.all and len(found) != 1:
        names = shown([str(cid)[-8:] for cid in open_ones])
        problem = f"no open invite {options.invite!r}" if not found else f"{len(found)} invites end so"
        raise ConfigurationError(problem, f"name one of {names}" if names else "there is none: learnae members")
    for cid in found:
        author = registrar.ledger.roster().invites[cid].author
        here = {identity.author: identity for identity in registrar.members_here()}
        registrar.uninvite(here.get(author) or registrar.member_here(), cid)
    registrar.announce()
    left = [str(cid) for cid in found if cid in registrar.ledger.roster().invites]
    if options.json:
        print_json({"taken_back": [str(cid) for cid in found if str(cid) not in left], "more_votes_needed": left})
    else:
        print_fields(
            {"taken back": len(found) - len(left), **({"of another member, more must": len(left)} if left else {})}
        )
    return 0


def _is_meant(text: str, cid: Cid) -> bool:
    return bool(text) and str(cid).endswith(text.lower())
