"""A swarm is made: its owner's key, its first key epoch, and what must be there before the swarm is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import RAW
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.privacy.policy import SummaryPrivacy
from learnae.protocol.identity import Identity
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import Swarm, create_named, create_swarm, note_created
from learnae.swarm.manifest import OPEN, Manifest
from learnae.system.paths import OWNER_FILE


def owned(
    manifest: Manifest,
    membership: str,
    founders: Sequence[str] = (),
    votes: int = 0,
    summary: SummaryPrivacy | None = None,
) -> tuple[Identity | None, Manifest]:
    """Return the new key that founds the swarm, unless it is open, and the manifest that names it."""
    if membership == OPEN:
        return None, manifest
    owner = Identity.generate()
    members = [Founder(owner.author, owner.x25519), *map(Founder.of_text, founders)]
    privacy = replace(manifest.privacy, summary=summary or manifest.privacy.summary)
    return owner, replace(manifest, membership=MembershipPolicy.of(membership, members, votes), privacy=privacy)


def found(manifest: Manifest, owner: Identity | None, blocks: Sequence[bytes], directory: Path | None = None) -> Swarm:
    """Make the swarm in ``directory``, else in this home; raises as ``create_named`` does."""
    fill = partial(_keep, blocks, owner, manifest)
    return create_swarm(manifest, directory, fill) if directory else create_named(manifest, fill)


def _keep(blocks: Sequence[bytes], owner: Identity | None, manifest: Manifest, directory: Path) -> None:
    """Store what must be there before the swarm is: a process that is killed leaves no swarm without an owner."""
    note_created(manifest.swarm)
    if owner:
        owner.save(directory / OWNER_FILE)
    with closing(LocalBlockStore(directory)) as store:
        for block in blocks:
            store.put(RAW, block)
        if owner:
            Registrar(directory, manifest, store).found(owner)
