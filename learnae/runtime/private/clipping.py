"""How updates are clipped where rows have no gradients of their own."""

from learnae.privacy.clipping import UpdateClip
from learnae.swarm.manifest import Manifest


def update_clip(manifest: Manifest, clip: bool) -> UpdateClip | None:
    """Return what bounds each update as a whole; None where nothing is clipped, or each row is."""
    return UpdateClip() if clip and not manifest.model.has_row_gradients else None
