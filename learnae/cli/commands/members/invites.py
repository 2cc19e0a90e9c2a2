"""``learnae invite`` and ``uninvite``: permissions to join."""

import argparse
import sys

from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.members.desk import open_desk
from learnae.cli.commands.members.spoken import check_speakable, speak
from learnae.cli.output import human_time, print_fields, print_json
from learnae.cli.qr import terminal_picture
from learnae.config.loading import find_section
from learnae.config.sections import LanSection, MqttSection, is_own_machine
from learnae.errors import ConfigurationError
from learnae.ipld.cid import Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.policy import VOUCHED
from learnae.protocol.identity import PRIVATE_KEY_BYTES
from learnae.runtime.admission.inviting import inviter, meeting_addresses
from learnae.system.credentials import read_credential
from learnae.text import counted, shown


def invite(options: argparse.Namespace) -> int:
    """Sign an invite, and print the code that grants it."""
    desk = open_desk(options)
    registrar, manifest = desk.registrar, desk.swarm.manifest
    if registrar.policy.kind == VOUCHED:
        raise ConfigurationError(
            f"members vouch for who comes into {manifest.name!r}",
            f"there: learnae join {manifest.swarm} --broker URL, or --member URL; then here: learnae admit PEER",
        )
    section = find_section(MqttSection, "mqtt")
    if options.spoken and (options.uses != 1 or options.with_password):
        raise ConfigurationError("--spoken lets one machine in, without a broker's password", "leave the others out")
    if options.spoken:
        check_speakable()
    addresses = options.address or meeting_addresses(
        manifest.swarm, section, lambda: find_section(LanSection, "lan"), options.spoken, _say_waiting
    )
    login = _login(section) if options.with_password else None
    InviteCode(manifest.swarm, bytes(PRIVATE_KEY_BYTES), tuple(addresses), login)  # refuses what does not fit
    member = inviter(registrar)
    expires = SystemClock().now() + options.expires
    record, seed = registrar.invite(member, options.uses, expires, options.role)
    registrar.announce()
    held = InviteCode(manifest.swarm, seed, tuple(addresses), login)
    if options.spoken:
        return speak(options, desk, member, held, record.cid)
    code = held.to_text()
    joins = counted(options.uses, "join")
    grants = f"{joins} as {'agent or trainer' if options.role == 'any' else options.role}, and reading what is said"
    if options.json:
        print_json({"code": code, "invite": str(record.cid), "uses": options.uses, "expires": expires,
                    "role": options.role, "swarm": str(manifest.swarm), "addresses": addresses})  # fmt: skip
        return 0
    picture, why_not = terminal_picture(code)
    print(f"{picture}\n{code}\n" if picture else f"{code}\n")
    if why_not:
        print(f"learnae: {why_not}", file=sys.stderr)
    print_fields({"grants": grants, "until": human_time(expires), "invite": str(record.cid)[-8:]})
    if not addresses:
        problem = "the code names no place where members are met: no broker is configured, and no peer here serves"
        print(f"learnae: {problem}; give --address, or the other machine needs --broker", file=sys.stderr)
    if not options.address and section.broker and is_own_machine(section.address().host):
        problem = f"the code names {section.broker}, which is another machine wherever else it is read"
        print(f"learnae: {problem}; give --address with a name that others reach", file=sys.stderr)
    print(f"\ntake it back with: learnae uninvite {str(record.cid)[-8:]}")
    return 0


def _say_waiting() -> None:
    print("waiting for the peer of this machine to serve …", file=sys.stderr)


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
