"""``learnae revoke`` and ``admit``: votes of this machine's members about another peer."""

import argparse

from learnae.cli.commands.members.desk import Desk, open_desk
from learnae.cli.output import print_fields, print_json
from learnae.errors import ConfigurationError
from learnae.membership.records import ADMIT, REMOVE, Join
from learnae.protocol.identity import peer_name


def revoke(options: argparse.Namespace) -> int:
    """Vote that a member is removed, with as many keys of this machine as are needed."""
    desk = open_desk(options)
    roster = desk.registrar.ledger.roster()
    known = {*roster.members, *roster.removed}
    peer = desk.find(options.peer, known)
    if peer in roster.removed:
        return _say(options, desk, peer, REMOVE, "removed already")
    return _vote(options, desk, peer, REMOVE)


def admit(options: argparse.Namespace) -> int:
    """Vote that a peer which asks to come in, or which was removed, is a member."""
    desk = open_desk(options)
    ledger = desk.registrar.ledger
    roster = ledger.roster()
    asked = {record.author: record.cid for record in ledger.records() if isinstance(record.body, Join)}
    founders = {founder.key for founder in desk.registrar.policy.founders}
    peer = desk.find(options.peer, {*asked, *founders} - set(roster.members))
    return _vote(options, desk, peer, ADMIT)


def _vote(options: argparse.Namespace, desk: Desk, peer: bytes, choice: str) -> int:
    registrar = desk.registrar
    voters = [identity for identity in registrar.members_here() if identity.author != peer]
    if not voters:
        raise ConfigurationError("no key on this machine is that of another member", "vote where one is")
    join = registrar.newest_join(peer) if choice == ADMIT else None
    for voter in voters:
        if len(registrar.votes_for(peer, choice, join)) >= registrar.policy.votes:
            break
        registrar.vote(voter, peer, choice, join)
    registrar.welcome()
    registrar.announce()
    roster = registrar.ledger.roster()
    is_done = peer in roster.removed if choice == REMOVE else peer in roster.members
    return _say(options, desk, peer, choice, "done" if is_done else "")


def _say(options: argparse.Namespace, desk: Desk, peer: bytes, choice: str, done: str) -> int:
    registrar = desk.registrar
    join = registrar.newest_join(peer) if choice == ADMIT else None
    votes, needed = len(registrar.votes_for(peer, choice, join)), registrar.policy.votes
    if options.json:
        print_json({"peer": peer_name(peer), "choice": choice, "votes": votes, "needed": needed, "done": bool(done)})
        return 0
    state = done or "more members must do the same" if votes < needed else done or "the votes have not come in yet"
    print_fields({"peer": desk.call(peer), "vote": choice, "votes": f"{votes} of {needed}", "state": state})
    return 0
