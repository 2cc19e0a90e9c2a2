"""``learnae invite --spoken``: three words that let one machine of this network in."""

import argparse
import sys
import time
from contextlib import closing

from learnae.adapters.lan.rendezvous import OFFER_SECONDS, offer_code
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.cli.commands.members.desk import Desk
from learnae.cli.output import print_fields, print_json
from learnae.errors import ConfigurationError, TransportError
from learnae.ipld.cid import Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.codes.spoken_code import SpokenCode
from learnae.membership.records import Join
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.registrar import Registrar
from learnae.system.installation import how_to_install, is_installed

_JOIN_SECONDS = 60.0  # from the code to a member: the other machine looks into its data meanwhile
_LOOK_SECONDS = 0.5


def check_speakable() -> None:
    """Raise ConfigurationError without the package that codes of words need."""
    if not is_installed("spake2"):
        raise ConfigurationError("spake2 is not installed", how_to_install("lan"))


def speak(options: argparse.Namespace, desk: Desk, member: Identity, code: InviteCode, invite: Cid) -> int:
    """Offer ``code`` under words until a machine has it, and wait for it to be a member; else take the invite back.

    Raises ConfigurationError after three wrong tries, TransportError after ten minutes.
    """
    is_given = False
    try:
        is_given = offer_code(code, member, lambda spoken, _: _say(options, spoken))
    finally:
        if not is_given:
            desk.registrar.uninvite(member, invite)
            desk.registrar.announce()
    if not is_given:
        raise TransportError(f"no machine of this network has joined in {OFFER_SECONDS / 60:g} minutes", "do it again")
    joined = _wait(desk, invite)
    if options.json:
        print_json({"joined": peer_name(joined) if joined else None, "swarm": str(desk.swarm.manifest.swarm)})
    else:
        standing = f"#{peer_name(joined)[:8]} is a member" if joined else "it has the code, and is no member yet"
        print_fields({"joined": standing})
    return 0


def _say(options: argparse.Namespace, spoken: SpokenCode) -> None:
    if options.json:
        print_json({"spoken": str(spoken)})
    else:
        print(f"{spoken}\n")
        print(f"on the other machine, within {OFFER_SECONDS / 60:g} minutes: learnae join {spoken} --data FILE --start")
    sys.stdout.flush()


def _wait(desk: Desk, invite: Cid) -> bytes | None:
    """Return who has become a member by the invite; None if it takes too long."""
    deadline = time.monotonic() + _JOIN_SECONDS
    while time.monotonic() < deadline:
        with closing(LocalBlockStore(desk.swarm.directory, read_only=True)) as store:
            ledger = Registrar(desk.swarm.directory, desk.swarm.manifest, store).ledger
        members = ledger.roster().members
        joins = (record for record in ledger.records() if isinstance(record.body, Join) and record.body.via == invite)
        if found := next((record.author for record in joins if record.author in members), None):
            return found
        time.sleep(_LOOK_SECONDS)
    return None
