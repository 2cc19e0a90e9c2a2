"""``learnae members``: who is in a swarm, who waits to come in, and which invites are open."""

import argparse
from typing import Any

from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.members.desk import Desk, open_desk
from learnae.cli.output import (
    Cell,
    PeerName,
    console,
    fitting,
    human_time,
    membership_of,
    print_fields,
    print_json,
    shedding,
)
from learnae.cli.swarm_choice import choose_swarm
from learnae.membership.records import ANY_ROLE, Join
from learnae.protocol.identity import peer_name
from learnae.runtime.admission.viewing import write_viewer_key
from learnae.text import ago, counted

_STANDINGS = {"member": "", "waiting": "waits to be let in", "removed": "removed"}


def members(options: argparse.Namespace) -> int:
    """Show every member, those who wait, and those who were removed."""
    if options.viewer_key:
        return _write_viewer_key(options)
    desk = open_desk(options)
    found = listed(desk)
    if options.json:
        print_json({**found, "swarm": str(desk.swarm.manifest.swarm), "membership": membership_of(desk.swarm.manifest)})
        return 0
    people = [(standing, each) for standing in _STANDINGS for each in found[standing]]
    _print_table(desk, people)
    for invite in found["invites"]:
        left = "has expired" if invite["expired"] else f"until {human_time(invite['expires'])}"
        print(f"invite {invite['invite'][-8:]} of {invite['by_shown']}: {counted(invite['left'], 'use')}, {left}")
    return 0


def _write_viewer_key(options: argparse.Namespace) -> int:
    key = write_viewer_key(choose_swarm(options.swarm).directory, options.viewer_key)
    fields = {"swarm": str(key.swarm), "viewer_key": str(options.viewer_key), "epochs": len(key.epochs)}
    if options.json:
        print_json(fields)
    else:
        print_fields({**fields, "reads": "what members say and show until the next removal; it cannot speak"})
    return 0


def listed(desk: Desk) -> dict[str, Any]:
    """Return what is known of members, of those who wait or were removed, and of open invites; times in Unix ms."""
    ledger, now = desk.registrar.ledger, SystemClock().now()
    roster, here = ledger.roster(), {identity.author for identity in desk.registrar.members_here()}
    founders = {founder.key for founder in desk.registrar.policy.founders}
    joins = [record for record in map(ledger.get, roster.pending) if record and isinstance(record.body, Join)]
    return {
        "votes": desk.registrar.policy.votes,
        "member": [
            {
                **_person(desk, author),
                "role": _role(desk, author, member.role),
                "founder": author in founders,
                "by": None if member.by is None else peer_name(member.by),
                "by_shown": "founder" if member.by is None else desk.call(member.by),
                "since": member.since or desk.swarm.manifest.created,
                "here": author in here,
            }
            for author, member in roster.members.items()
        ],
        "waiting": [{**_person(desk, record.author), "since": record.time} for record in joins],
        "removed": [_person(desk, author) for author in sorted(roster.removed)],
        "invites": [
            {
                "invite": str(cid),
                "by": peer_name(invite.author),
                "by_shown": desk.call(invite.author),
                "left": invite.left,
                "role": invite.invite.role,
                "expires": invite.invite.expires,
                "expired": invite.invite.expires < now,
            }
            for cid, invite in roster.invites.items()
        ],
    }


def _person(desk: Desk, author: bytes) -> dict[str, Any]:
    peer = peer_name(author)
    view = desk.views.get(peer)
    return {
        "peer": peer,
        "shown": desk.names.get(peer) or f"#{peer[:8]}",
        "heard": view.heard if view and view.heard else None,
    }


def _role(desk: Desk, author: bytes, role: str) -> str:
    """Return as what a member works, as it says; and as what it was let in, if that is another role."""
    view = desk.views.get(peer_name(author))
    if view is None or view.role == "?":
        return role
    return view.role if role in (ANY_ROLE, view.role) else f"{view.role}, let in as {role}"


def _print_table(desk: Desk, people: list[tuple[str, dict[str, Any]]]) -> None:
    now = SystemClock().now()
    columns = ["member", "key", "role", "by", "since", ">heard"]
    rows: list[list[Cell]] = [
        [
            PeerName(each["shown"], " (here)" if each.get("here") else ""),
            each["peer"][:8],
            each.get("role", _STANDINGS[standing]),
            each.get("by_shown", "-"),
            human_time(each["since"])[:16] if each.get("since") else "-",
            ago((now - each["heard"]) / 1000) if each["heard"] else "never",
        ]
        for standing, each in people
    ]
    manifest = desk.swarm.manifest
    title = f"{manifest.name}, {membership_of(manifest)}, {counted(desk.registrar.policy.votes, 'vote')} to remove"
    console.print(fitting(shedding(title, columns, rows, ["by", "key", "since", "role"])))
