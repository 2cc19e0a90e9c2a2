"""All messages that a swarm's directory holds, also those that no peer needs any more."""

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.records import is_record
from learnae.membership.sealing import NO_SECRETS, Seals
from learnae.peer.members.records_here import open_gate
from learnae.protocol.messages import Message, open_message
from learnae.runtime.keys_here import SecretsHere, keys_here
from learnae.swarm.directory import open_manifest, open_swarm
from learnae.swarm.manifest import Manifest


def messages_in(directory: Path) -> Iterator[Message]:
    """Open each message of the swarm in ``directory``, in no order."""
    manifest = open_swarm(directory).manifest
    with closing(LocalBlockStore(directory, read_only=True)) as store:
        for cid in store.cids():
            if cid.codec != DAG_CBOR or cid == manifest.swarm:
                continue
            with suppress(BlockMissingError):  # a running peer has forgotten it since
                if not is_record(data := store.get(cid)):
                    yield open_message(data, manifest.swarm, manifest.limits)


def seqs_in(directory: Path, author: bytes | None = None) -> list[int]:
    """Return the seqs of the only author, or of this one, in order; one that was used twice is there twice."""
    said = [message for message in messages_in(directory) if author in (None, message.author)]
    assert len({message.author for message in said}) <= 1
    return sorted(message.seq for message in said)


def read_by_members(blocks: Mapping[Cid, bytes], manifest: Manifest, seals: Seals) -> Iterator[tuple[Message, bytes]]:
    """Open all messages and frames among ``blocks``: each message, with the bytes of what it says and of its frame."""
    for cid, data in blocks.items():
        if cid.codec != DAG_CBOR or cid == manifest.swarm or is_record(data):
            continue
        message = seals.opened(open_message(data, manifest.swarm, manifest.limits), manifest.limits)
        frame = [
            bytes(seals.opened_block(message.author, message.seq, index, blocks[part]))
            for index, part in enumerate(message.blocks)
            if part in blocks
        ]
        yield message, b"".join([dagcbor.encode(message.body.to_fields()), *frame])


def read_in(directory: Path) -> list[tuple[Message, bytes]]:
    """Return what a member reads in a swarm's directory (read_by_members); who made a sealed one reads all of it."""
    manifest = open_manifest(directory)
    with closing(LocalBlockStore(directory, read_only=True)) as store:
        ledger = open_gate(manifest, store, ErrorLog()).ledger
        secrets = NO_SECRETS if ledger is None else SecretsHere(keys_here(directory), ledger)
        blocks = {cid: store.get(cid) for cid in store.cids()}
    return list(read_by_members(blocks, manifest, Seals(manifest.is_sealed, secrets)))
