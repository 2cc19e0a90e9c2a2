"""The records of membership that a store holds, taken in at the start of a run."""

from contextlib import suppress

from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError, PeerError
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.gate import Gate
from learnae.ports import BlockStore
from learnae.swarm.manifest import Manifest


def open_gate(manifest: Manifest, store: BlockStore, errors: ErrorLog) -> Gate:
    """Return the gate of a swarm, with all records that ``store`` holds; wrong ones are counted in ``errors``."""
    if manifest.membership is None:
        return Gate()
    from learnae.membership.ledger import Ledger  # noqa: PLC0415 - memory that open swarms have no use for

    gate = Gate(Ledger(manifest.membership, manifest.swarm))
    for cid in store.cids():
        if cid.codec != DAG_CBOR:
            continue
        with suppress(BlockMissingError):  # deleted since
            try:
                data = store.get(cid)
                if gate.takes(data):
                    gate.take(data)
            except PeerError as error:
                errors.count(error)
    return gate
