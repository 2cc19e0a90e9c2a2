"""Makes docs/vectors/records.json: a small swarm of members, from its first secret to a removal."""

import hashlib
from itertools import count
from typing import Any

from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import (
    REMOVE,
    Body,
    Invite,
    Join,
    Record,
    Uninvite,
    Unknown,
    Vote,
    compose_record,
    prove_join,
)
from learnae.protocol.identity import Identity

TIME = 1_700_000_000_000
CONTEXT = b"learnae/record/1"
ALICE, BOB, CAROL, DAVE, KEY = (Identity.from_seed(bytes(range(32 * n, 32 * n + 32))) for n in range(5))
PEOPLE = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
SWARM = Cid.of(DAG_CBOR, b"a manifest of three founders")
POLICY = MembershipPolicy.of("invite", [Founder(one.author, one.x25519) for one in (ALICE, BOB, CAROL)], 2)


class Steady:
    """Bytes that look random and are the same each time."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, size: int) -> bytes:
        return hashlib.shake_256(b"%d" % next(self._numbers)).digest(size)


def records() -> dict[str, Any]:
    """Return the records in an order in which each comes after its past, who is in after them, and their secrets."""
    ledger, steady, said = Ledger(POLICY, SWARM), Steady(), dict[str, Record]()
    rings = {name: Keyring(one, ledger, steady) for name, one in PEOPLE.items()}

    def say(name: str, who: Identity, body: Body, past: list[Cid] | None = None) -> Record:
        heads = ledger.heads() if past is None else past
        said[name] = compose_record(who, SWARM, heads, TIME + 1000 * len(said), body)
        ledger.add(said[name].data)
        return said[name]

    say("first secret", ALICE, rings["alice"].mint())
    invite = say("invite", ALICE, Invite(KEY.author, 2, TIME + 86_400_000))
    proof = prove_join(KEY, SWARM, DAVE.author)
    join = say("join", DAVE, Join(DAVE.x25519, invite.cid, proof), [])
    known = ledger.heads()
    say("welcome", BOB, rings["bob"].welcome_for(join.cid, TIME))
    say("invite taken back", ALICE, Uninvite(invite.cid))
    say("vote", ALICE, Vote(CAROL.author, REMOVE))
    say("second vote", BOB, Vote(CAROL.author, REMOVE))
    say("secret after the removal", DAVE, rings["dave"].mint())
    say("vote cast later", CAROL, Vote(ALICE.author, REMOVE), list(known))
    say("invite after the removal", CAROL, Invite(KEY.author, 16, TIME + 86_400_000), list(known))
    say("kind of a later version", BOB, Unknown("later", {"value": 1.0}))
    epoch, roster = rings["dave"].current(), ledger.roster()
    assert epoch is not None
    root = rings["dave"].root
    assert root is not None
    return {
        "swarm": str(SWARM),
        "membership": {
            "kind": POLICY.kind,
            "votes": POLICY.votes,
            "founders": [{"key": one.key.hex(), "x25519": one.x25519.hex()} for one in POLICY.founders],
        },
        "records": {name: vector(record.data) for name, record in said.items()},
        "members": sorted(name for name, one in PEOPLE.items() if one.author in roster.members),
        "removed": sorted(name for name, one in PEOPLE.items() if one.author in roster.removed),
        "epoch": {"name": epoch[0].hex(), "secret": epoch[1].hex(), "root": root.hex()},
        "refused": {name: {"why": why, "block": data.hex()} for name, (why, data) in refused().items()},
    }


def vector(data: bytes) -> dict[str, str]:
    return {"cid": str(Cid.of(DAG_CBOR, data)), "block": data.hex()}


def signed(**changes: Any) -> bytes:
    """Return a record of ALICE with fields changed, added or (None) left out before it is signed."""
    whole = {
        "v": 1, "by": ALICE.author, "body": {"kind": "leave"}, "past": [], "time": TIME, "swarm": SWARM, **changes
    }  # fmt: skip
    whole = {name: value for name, value in whole.items() if value is not None}
    return dagcbor.encode({"sig": ALICE.sign(CONTEXT + dagcbor.encode(whole)), **whole})


def refused() -> dict[str, tuple[str, bytes]]:
    """Return reason and bytes by name; each is wrong whatever is known."""
    good = signed()
    links = [Cid.of(DAG_CBOR, b"%d" % number) for number in range(65)]
    unsigned = {name: value for name, value in dagcbor.decode(good).items() if name != "sig"}
    vote = {"kind": "vote", "peer": BOB.author, "choice": "remove", "join": None}
    invite = {"kind": "invite", "key": KEY.author, "uses": 1, "expires": TIME, "role": "any"}
    rekey = {"kind": "rekey", "root": bytes(48), "excludes": [], "ephemeral": bytes(32), "sealed": []}
    pair = [BOB.author, bytes(48)]
    return {
        "changed": ("the signature is of other bytes", good.replace(b"leave", b"lease")),
        "signed as a message": (
            "the signature has a message's context",
            dagcbor.encode({**unsigned, "sig": ALICE.sign(b"learnae/message/1" + dagcbor.encode(unsigned))}),
        ),
        "another swarm": ("swarm is not this one", signed(swarm=links[0])),
        "another version": ("v is not 1", signed(v=2)),
        "with seq": ("seq is in the place of sig", signed(seq=0)),
        "long past": ("more than 64 links", signed(past=links)),
        "past twice": ("a link twice", signed(past=links[:1] * 2)),
        "large": ("more than 4096 bytes", signed(body={"kind": "later", "rest": bytes(4096)})),
        "vote for nothing": ("choice is neither remove nor admit", signed(body={**vote, "choice": "keep"})),
        "removal of a join": ("join is not null", signed(body={**vote, "join": links[0]})),
        "17 uses": ("uses is above 16", signed(body={**invite, "uses": 17})),
        "proof of nothing": (
            "proof without via", signed(body={"kind": "join", "x25519": bytes(32), "via": None, "proof": bytes(64)})
        ),
        "sealed twice": ("a key twice", signed(body={**rekey, "sealed": [pair, pair]})),
        "short box": ("a box of 47 bytes", signed(body={**rekey, "sealed": [[BOB.author, bytes(47)]]})),
    }  # fmt: skip
