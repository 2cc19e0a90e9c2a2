"""``learnae revoke`` and ``admit``: votes of this machine's members about another peer."""

import argparse

from learnae.cli.commands.members.desk import Desk, open_desk
from learnae.cli.output import print_fields, print_json
from learnae.errors import ConfigurationError
from learnae.ipld.cid import Cid
from learnae.membership.records import ADMIT, REMOVE, Join
from learnae.protocol.identity import peer_name


def revoke(options: argparse.Namespace) -> int:
    """Vote that a member is removed, with as many keys of this machine as are needed."""
    desk = open_desk(options)
    roster = desk.registrar.ledger.roster()
    known = {*roster.members, *roster.removed}
    peer = desk.find(options.peer, known)
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
        if _is_done(desk, peer, choice) or len(registrar.votes_for(peer, choice, join)) >= registrar.policy.votes:
            break
        registrar.vote(voter, peer, choice, join)
    registrar.rekey(voters[0])
    registrar.welcome()
    registrar.announce()
    return _say(options, desk, peer, choice, join)


def _is_done(desk: Desk, peer: bytes, choice: str) -> bool:
    roster = desk.registrar.ledger.roster()
    return peer in (roster.removed if choice == REMOVE else roster.members)


def _say(options: argparse.Namespace, desk: Desk, peer: bytes, choice: str, join: Cid | None) -> int:
    registrar, is_done = desk.registrar, _is_done(desk, peer, choice)
    votes, needed = len(registrar.votes_for(peer, choice, join)), registrar.policy.votes
    if options.json:
        print_json({"peer": peer_name(peer), "choice": choice, "votes": votes, "needed": needed, "done": is_done})
        return 0
    if is_done:
        state = "removed" if choice == REMOVE else "a member"
    else:
        state = "more members must do the same" if votes < needed else "a member that runs lets it in"
    print_fields({"peer": desk.call(peer), "vote": choice, "votes": f"{votes} of {needed}", "state": state})
    return 0
