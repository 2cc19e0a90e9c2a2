"""All messages that a swarm's directory holds, also those that no peer needs any more."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import BlockMissingError
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.records import is_record
from learnae.protocol.messages import Message, open_message
from learnae.swarm.directory import open_swarm


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
