"""``learnae anchor``: write on an IOTA Tangle that something exists, and prove later since when."""

import argparse
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from learnae.adapters.iota.anchors import Proof, prove, write_anchor
from learnae.adapters.iota.node import Node
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.cli.output import human_time, print_fields, print_json
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.config.loading import find_section
from learnae.config.sections import IotaSection
from learnae.errors import ConfigurationError, EncodingError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.protocol.announcements import Announcement

DEFAULT_NODE = "http://127.0.0.1:14265"  # as nodes are shipped
_RETRY_SECONDS = 1.0


def anchor(options: argparse.Namespace) -> int:
    """Anchor a file, a CID or what the swarm has said; with --verify, prove that it is anchored."""
    section = find_section(IotaSection, "iota")
    section = replace(section, node=options.node or section.node or DEFAULT_NODE)
    node = Node.from_section(section)
    if options.verify:
        fields = _verify(options, section, node)
    else:
        cid = _named(options.what) if options.what else _vector(options.swarm)
        fields = {"cid": str(cid), "transaction": write_anchor(node, cid), "node": node.url}
    print_json(fields) if options.json else print_fields(fields)
    return 0


def _verify(options: argparse.Namespace, section: IotaSection, node: Node) -> dict[str, Any]:
    if not options.what:
        raise ConfigurationError("nothing to verify", "name the file or the CID that was anchored")
    cid = _named(options.what)
    coordinator = section.coordinator or node.info().coordinator
    proof = _wait_for_proof(node, cid, coordinator, need_signature=not options.trust_node, seconds=options.wait)
    fields = {**asdict(proof), "cid": str(cid), "path": list(proof.path), "node": node.url, "coordinator": coordinator}
    if options.json:
        return fields
    return {
        "cid": str(cid),
        "transaction": proof.transaction,
        "since": f"milestone {proof.milestone}, {human_time(proof.time * 1000)}",
        "path": f"{len(proof.path)} transactions, each checked",
        "signature": "verified" if proof.signed else "not verified: the node is trusted",
        "coordinator": coordinator,
    }


def _wait_for_proof(node: Node, cid: Cid, coordinator: str, need_signature: bool, seconds: float) -> Proof:
    """Return the proof once a milestone has confirmed it; raise TransportError if none has after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return prove(node, cid, coordinator, need_signature)
        except TransportError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _named(what: str) -> Cid:
    """Return the CID that ``what`` is, or that of the file that it names."""
    path = Path(what)
    try:
        return Cid.of(RAW, path.read_bytes()) if path.is_file() else Cid.parse(what)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    except EncodingError as error:
        raise ConfigurationError(f"{what!r} is no file and no CID", "name one of them") from error


def _vector(swarm: str) -> Cid:
    """Store a block that names every author's newest message, beside the swarm's blocks; return its CID."""
    directory = choose_swarm(swarm).directory
    tangle = observe(directory).tangle
    entries = sorted((entry for _, entry in tangle.entries()), key=lambda entry: entry.author)
    if not entries:
        raise ConfigurationError("the swarm has no messages yet", "start a peer first")
    vector = Announcement(tuple(entries), tuple(sorted(tangle.kept())))
    with closing(LocalBlockStore(directory)) as store:
        cid = store.put(DAG_CBOR, dagcbor.encode(vector.to_fields()))
        store.keep_for_ever(cid)
        return cid
