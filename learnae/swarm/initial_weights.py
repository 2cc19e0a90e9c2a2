"""The weights that all peers of a swarm start from: drawn from its seed, or carried in blocks that it names."""

from learnae.errors import BlockMissingError, FrameError, ManifestError, ModelError, PeerError
from learnae.ipld.cid import RAW, Cid
from learnae.ports import BlockStore
from learnae.protocol.bodies import KEY, FrameHeader
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame

_EXACT = FramePolicy(keyframe="f32")


def start_blocks(weights: Vector) -> list[bytes]:
    """Encode ``weights`` (count,) as the blocks of a keyframe; raises ModelError if they are no weights."""
    try:
        return encode_frame(weights, None, None, _EXACT).blocks
    except FrameError as error:
        raise ModelError(f"the model's weights cannot be used: {error}", "give a model without them") from error


def start_links(blocks: list[bytes]) -> tuple[Cid, ...]:
    """Return the links to these blocks that a manifest has."""
    return tuple(Cid.of(RAW, block) for block in blocks)


def starting_weights(manifest: Manifest, store: BlockStore) -> Vector | None:
    """Return the weights (count,) that all peers start from; None while not all of their blocks are here.

    Raises ManifestError if the blocks are no weights of this model.
    """
    if not manifest.start:
        return manifest.definition.initial(manifest.seed)
    missing = [cid for cid in manifest.start if not store.has(cid)]
    if missing:
        store.want(missing)
        return None
    header = FrameHeader(KEY, _EXACT.keyframe, manifest.model.count, None)
    try:
        blocks = [store.get(cid) for cid in manifest.start]
    except (BlockMissingError, PeerError):  # deleted since, or damaged: a good copy may come
        return None
    for block in blocks:
        store.put(RAW, block)  # so that other peers can fetch them from here
    try:
        return decode_frame(header, blocks, None, manifest.model.count)
    except FrameError as error:
        raise ManifestError(f"the swarm's starting weights cannot be used: {error}", "create another swarm") from error
