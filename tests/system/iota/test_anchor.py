"""``learnae anchor``: what exists is written on the Tangle, and later proven from nothing but its name."""

import itertools
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from builders import Author, tiny_manifest
from programs import Programs, assert_refused, wait_for
from tangles import HornetTangle, LoopbackTangle, Tangle

from learnae.adapters.iota.anchors import prove, tag_of, write_anchor
from learnae.adapters.iota.node import Node
from learnae.adapters.iota.proof_of_work import hash_of
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.errors import SignatureError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.limits import Limits
from learnae.swarm.directory import create_swarm


@pytest.fixture
def cid() -> Cid:
    return Cid.of(RAW, os.urandom(8))


def proof_of(node: Node, cid: Cid, coordinator: str, need_signature: bool):
    def attempt():
        with suppress(TransportError):
            return prove(node, cid, coordinator, need_signature)

    return wait_for(attempt, "a milestone")


@pytest.fixture
def node(tangle: Tangle) -> Node:
    return Node(tangle.url)


@pytest.fixture
def coordinator(node: Node) -> str:
    return node.info().coordinator


def test_an_anchor_is_proven_link_by_link(tangle: Tangle, node: Node, coordinator: str, cid: Cid) -> None:
    with pytest.raises(TransportError, match="is not anchored"):
        prove(node, cid, coordinator)
    before = node.info().milestone
    name = write_anchor(node, cid)
    signed = not isinstance(tangle, LoopbackTangle)
    proof = proof_of(node, cid, coordinator, signed)
    assert (proof.cid, proof.transaction, proof.signed) == (cid, name, signed)
    assert before < proof.milestone <= node.info().milestone
    path = node.read(proof.path)
    assert [hash_of(one.trytes) for one in path] == list(proof.path)
    assert all(below.name in above.parents for below, above in itertools.pairwise(path))
    assert path[-1].address == coordinator


def test_a_second_anchor_does_not_make_it_younger(node: Node, coordinator: str, cid: Cid) -> None:
    first = write_anchor(node, cid)
    milestone = proof_of(node, cid, coordinator, False).milestone
    wait_for(lambda: node.info().milestone > milestone + 1, "later milestones")
    second = write_anchor(node, cid)
    wait_for(lambda: node.confirmed([second]) == [True], "its milestone")
    proof = prove(node, cid, coordinator, False)
    assert (proof.transaction, proof.milestone) == (first, milestone)


def test_garbage_under_the_anchors_tag_proves_nothing(node: Node, coordinator: str, cid: Cid) -> None:
    another = dagcbor.encode({"v": 1, "anchor": Cid.of(RAW, b"another")})
    for message in (b"", b"\x00\x05hello", another, len(another).to_bytes(2) + another):
        node.attach(node.propose(message, tag_of(cid), "A" * 80 + "9"))
    with pytest.raises(TransportError, match="is not anchored"):
        prove(node, cid, coordinator)


def test_milestones_nobody_signed_are_not_believed(loopback: LoopbackTangle, cid: Cid) -> None:
    node = Node(loopback.url)
    write_anchor(node, cid)
    proof_of(node, cid, loopback.node.coordinator, False)
    with pytest.raises(SignatureError, match="--trust-node"):
        prove(node, cid, loopback.node.coordinator)


@pytest.mark.engine("hornet")
def test_milestones_of_another_coordinator_or_with_other_bytes_are_not_believed(
    hornets: HornetTangle, cid: Cid, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(hornets.url)
    coordinator = node.info().coordinator
    write_anchor(node, cid)
    proof = proof_of(node, cid, coordinator, True)
    with pytest.raises(TransportError, match="no milestone includes"):
        prove(node, cid, "A" * 81)
    from learnae.adapters.iota import anchors as iota_anchor

    original = iota_anchor.verify_milestone

    def spoiled(top, signatures, root):
        changed = type(top)(top.name, signatures[0].trytes[:81] + top.trytes[81:])
        original(changed, signatures, root)

    monkeypatch.setattr(iota_anchor, "verify_milestone", spoiled)
    with pytest.raises(SignatureError, match=f"milestone {proof.milestone}"):
        prove(node, cid, coordinator)


@pytest.mark.parametrize("lie", ["another transaction", "no approver"])
def test_a_node_that_lies_is_caught(loopback: LoopbackTangle, cid: Cid, lie: str) -> None:
    served = loopback.node
    node = Node(loopback.url)
    write_anchor(node, cid)
    proof = proof_of(node, cid, served.coordinator, False)
    if lie == "another transaction":
        known = served._known[proof.path[-1]]
        trytes = known.transaction.trytes
        changed = trytes[:2322] + ("B" if trytes[2322] == "A" else "A") + trytes[2323:]
        known.transaction = type(known.transaction)(known.transaction.name, changed)
    else:
        stranger = next(name for name in served._milestones if name not in proof.path)
        served._by["approvees", proof.transaction] = [stranger]
    with pytest.raises(TransportError, match="ask another node"):
        prove(node, cid, served.coordinator, False)


# -- as a command


def test_a_file_is_anchored_and_verified(tangle: Tangle, programs: Programs, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(os.urandom(100))
    trust = ["--trust-node"] if isinstance(tangle, LoopbackTangle) else []
    verify = ("learnae", "anchor", model, "--verify", "--node", tangle.url, *trust)
    assert_refused(programs.run(*verify), 75, "is not anchored")
    written = programs.answer("learnae", "anchor", model, "--node", tangle.url)
    assert written["cid"] == str(Cid.of(RAW, model.read_bytes()))
    for what in (model, written["cid"]):
        found = programs.answer("learnae", "anchor", what, "--verify", "--wait", 60, "--node", tangle.url, *trust)
        assert found["transaction"] == written["transaction"] == found["path"][0]
        assert found["milestone"] > 0
    people = programs.run(*verify)
    assert f"milestone {found['milestone']}, " in people.stdout
    assert ("verified" in people.stdout) == (not trust or "not verified" in people.stdout)
    model.write_bytes(b"another model")
    assert_refused(programs.run(*verify), 75, "is not anchored")


def test_every_peers_newest_message_is_anchored_as_a_block(
    programs: Programs, loopback: LoopbackTangle, tmp_path: Path
) -> None:
    manifest = tiny_manifest()
    directory = create_swarm(manifest, tmp_path / "swarm").directory
    store, now, entries = LocalBlockStore(directory), time.time_ns() // 1_000_000, []
    for number in range(2 * Limits().entries):  # more than one announcement holds
        author = Author(number, manifest.swarm)
        for message in (author.say(time=now - 1000), author.say(time=now)):
            store.put(DAG_CBOR, message.data)
        entries.append(Entry(author.author[:PREFIX_BYTES], 1, message.cid, message.previous))
    for half in (entries[: Limits().entries], entries[Limits().entries :]):
        LocalGossip(directory, half[0].author.hex()).announce(Announcement(tuple(half)))
    written = programs.answer("learnae", "anchor", "--swarm", directory, "--node", loopback.url)
    anchored = Announcement(tuple(sorted(entries, key=lambda entry: entry.author)))
    assert dagcbor.decode(store.get(Cid.parse(written["cid"]))) == anchored.to_fields()
    options = ("--verify", "--wait", 60, "--trust-node", "--node", loopback.url)
    found = programs.answer("learnae", "anchor", written["cid"], *options)
    assert found["cid"] == written["cid"]


def test_mistakes_are_named(programs: Programs) -> None:
    nobody = "http://127.0.0.1:1"
    assert_refused(programs.run("learnae", "anchor", "nonsense", "--node", nobody), 78, "no file and no CID")
    assert_refused(programs.run("learnae", "anchor", "--verify", "--node", nobody), 78, "nothing to verify")
    assert_refused(programs.run("learnae", "anchor", __file__, "--node", nobody), 75, nobody)
    assert_refused(programs.run("learnae", "anchor", __file__, "--node", "nobody"), 78, "iota.node")
