"""Anchors: a CID in a transaction that a milestone includes, which proves later that it was there.

The proof is checked here, link by link: hash and work of each transaction on the way from the anchor up to
the first milestone that approves it, and that milestone's signature by the coordinator. The node is only
asked for transactions. Milestones are signed with Merkle-Winternitz signatures (Merkle 1989) over Kerl.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from learnae.adapters.iota.node import MESSAGE_BYTES, TAG_TRYTES, Node, Transaction
from learnae.adapters.iota.proof_of_work import HASH_TRYTES, hash_of, weight
from learnae.adapters.iota.pyota import kerl, load, trytes_of
from learnae.errors import EncodingError, PeerError, SignatureError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid

_CONTEXT = b"learnae/anchor/1/"
_LENGTH_BYTES = 2
_ADDRESS = "LEARNAE9ANCHOR".ljust(HASH_TRYTES, "9")
_CANDIDATES = 16  # transactions under the tag that are looked at: others may have anchored it, too, or garbage
_CONE = 2000  # transactions looked at on the way to a milestone
_DEPTH = 26  # of a coordinator's Merkle tree: more keys than any has
_SIGNATURES = 3  # transactions that a milestone's signature can fill


@dataclass(frozen=True, slots=True)
class Proof:
    """Shows that ``transaction`` holds ``cid``; ``milestone`` was the first to include it, at ``time`` (Unix seconds,
    as the coordinator wrote). ``path`` names every transaction between, both ends included."""

    cid: Cid
    transaction: str
    milestone: int
    time: int
    path: tuple[str, ...]
    signed: bool


def write_anchor(node: Node, cid: Cid) -> str:
    """Put ``cid`` onto the Tangle; returns the transaction's name. Raises TransportError."""
    content = dagcbor.encode({"v": 1, "anchor": cid})
    message = len(content).to_bytes(_LENGTH_BYTES) + content
    return node.attach(node.propose(message, tag_of(cid), _ADDRESS))


def tag_of(cid: Cid) -> str:
    """Return what the anchors of ``cid`` are found by."""
    return trytes_of(hashlib.sha512(_CONTEXT + cid.to_bytes()).digest(), TAG_TRYTES)


def prove(node: Node, cid: Cid, coordinator: str, need_signature: bool = True) -> Proof:
    """Find the earliest proof that ``cid`` was on the Tangle of ``coordinator``.

    Raises TransportError if there is none (yet), SignatureError if it is not signed by that coordinator.
    """
    mwm = node.mwm()
    found = list(anchors_of(node, cid, mwm))
    if not found:
        raise TransportError(
            f"{cid} is not anchored at {node.url}", "anchor it with: learnae anchor, or ask another node"
        )
    proofs = [proof for anchor in found for proof in _climb(node, anchor, cid, coordinator, mwm)]
    if not proofs:
        raise TransportError(f"no milestone includes {found[0].name} yet", "wait for the next one, some seconds")
    first = min(proofs, key=lambda proof: proof.milestone)
    if need_signature:
        return _signed(node, first, coordinator, mwm)
    return first


def anchors_of(node: Node, cid: Cid, mwm: int) -> Iterator[Transaction]:
    """Find the transactions that do hold ``cid``."""
    for transaction in _read(node, node.find_tag(tag_of(cid))[:_CANDIDATES], mwm):
        try:
            message = transaction.message
            content = dagcbor.decode(message[_LENGTH_BYTES:][: int.from_bytes(message[:_LENGTH_BYTES])], MESSAGE_BYTES)
        except EncodingError:
            continue
        if content == {"v": 1, "anchor": cid}:
            yield transaction


def _read(node: Node, names: list[str], mwm: int) -> list[Transaction]:
    """Read transactions; raise TransportError for one that is not what its name says, or lacks the work."""
    for transaction in (found := node.read(names)):
        if hash_of(transaction.trytes) != transaction.name or weight(transaction.name) < mwm:
            raise TransportError(f"{node.url} gives another transaction for {transaction.name}", "ask another node")
    return found


def _climb(node: Node, anchor: Transaction, cid: Cid, coordinator: str, mwm: int) -> Iterator[Proof]:
    """Follow the way from the anchor through what approves it up to the first milestone."""
    came_from: dict[str, str] = {anchor.name: ""}
    level, milestones = [anchor], list[Transaction]()
    while level and len(came_from) < _CONE:
        names = [name for name in node.find_approvers([below.name for below in level]) if name not in came_from]
        below = {transaction.name for transaction in level}
        level = []
        for transaction in _read(node, names, mwm):
            parents = [parent for parent in transaction.parents if parent in below]
            if not parents:
                raise TransportError(f"{transaction.name} does not approve what {node.url} says", "ask another node")
            came_from[transaction.name] = parents[0]
            if transaction.address == coordinator and transaction.milestone > 0:
                milestones.append(transaction)
            else:
                level.append(transaction)
    for milestone in milestones:
        path = [milestone.name]
        while came_from[path[-1]]:
            path.append(came_from[path[-1]])
        yield Proof(cid, anchor.name, milestone.milestone, milestone.timestamp, tuple(reversed(path)), False)


def _signed(node: Node, proof: Proof, coordinator: str, mwm: int) -> Proof:
    """Return the proof, once its milestone's signature is verified; raises SignatureError."""
    top = _read(node, [proof.path[-1]], mwm)[0]
    signatures, last = list[Transaction](), top
    for _ in range(_SIGNATURES):
        above = [one for one in _read(node, node.find_approvers([last.name]), mwm) if one.parents[0] == last.name]
        own = [one for one in above if one.address == coordinator and one.bundle == top.bundle]
        if not own:
            break
        last = own[0]
        signatures.insert(0, last)
    try:
        verify_milestone(top, signatures, coordinator)
    except PeerError as error:
        problem = f"milestone {proof.milestone} at {node.url}: {error.problem}"
        raise SignatureError(problem, "believe neither it nor the node, or pass --trust-node") from error
    return Proof(proof.cid, proof.transaction, proof.milestone, proof.time, proof.path, True)


def verify_milestone(top: Transaction, signatures: list[Transaction], coordinator: str) -> None:
    """Raise SignatureError unless the coordinator signed ``top``, which holds the audit path of its key."""
    if not signatures:
        raise SignatureError("no signature")
    iota = load()
    normalized = iota.crypto.signing.normalize(iota.TransactionHash(top.name))
    digests = ""
    for number, transaction in enumerate(signatures):
        ends = ""
        for place, start in enumerate(range(0, HASH_TRYTES * 27, HASH_TRYTES)):
            link = transaction.trytes[start : start + HASH_TRYTES]
            for _ in range(13 + normalized[number][place]):
                link = kerl(link)
            ends += link
        digests += kerl(ends)
    root, index = kerl(digests), top.milestone
    for level in range(_DEPTH):
        if root == coordinator:
            return
        sibling = top.trytes[HASH_TRYTES * level : HASH_TRYTES * (level + 1)]
        root = kerl(sibling + root if index >> level & 1 else root + sibling)
    raise SignatureError("its signature is not the coordinator's")
