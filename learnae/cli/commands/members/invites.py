"""``learnae invite`` and ``uninvite``: permissions to join."""

import argparse
import sys

from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.members.desk import open_desk
from learnae.cli.output import human_time, print_fields, print_json
from learnae.cli.qr import terminal_picture
from learnae.config.loading import find_section
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError
from learnae.ipld.cid import Cid
from learnae.membership.invite_code import InviteCode
from learnae.membership.policy import VOUCHED
from learnae.text import counted, shown


def invite(options: argparse.Namespace) -> int:
    """Sign an invite, and print the code that grants it."""
    desk = open_desk(options)
    registrar, manifest = desk.registrar, desk.swarm.manifest
    if registrar.policy.kind == VOUCHED:
        raise ConfigurationError(
            f"members vouch for who comes into {manifest.name!r}", "give them the manifest; then: learnae admit PEER"
        )
    member = registrar.member_here()
    expires = SystemClock().now() + options.expires
    record, seed = registrar.invite(member, options.uses, expires, options.role)
    registrar.announce()
    addresses = options.address or list(filter(None, [find_section(MqttSection, "mqtt").broker]))
    code = InviteCode(manifest.swarm, seed, tuple(addresses)).to_text()
    joins = counted(options.uses, "join")
    grants = f"{joins} as {'agent or trainer' if options.role == 'any' else options.role}, and reading what is said"
    if options.json:
        print_json({"code": code, "invite": str(record.cid), "uses": options.uses, "expires": expires,
                    "role": options.role, "swarm": str(manifest.swarm)})  # fmt: skip
        return 0
    picture, why_not = terminal_picture(code)
    print(f"{picture}\n{code}\n" if picture else f"{code}\n")
    if why_not:
        print(f"learnae: {why_not}", file=sys.stderr)
    print_fields({"grants": grants, "until": human_time(expires), "invite": str(record.cid)[-8:]})
    print(f"\ntake it back with: learnae uninvite {str(record.cid)[-8:]}")
    return 0


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
