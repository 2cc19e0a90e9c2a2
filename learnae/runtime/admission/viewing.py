"""What lets this machine see sealed swarms: the keys of its own members, and viewer keys."""

from contextlib import closing
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.errors import ConfigurationError
from learnae.membership.member_secrets import MemberSecrets
from learnae.membership.rendezvous import members_place
from learnae.membership.viewer_key import MAX_BYTES, ViewerKey
from learnae.peer.members.records_here import open_gate
from learnae.runtime.keys_here import keys_here
from learnae.swarm.directory import open_manifest, swarms_here
from learnae.system.atomic_files import create_once
from learnae.system.private_files import read_private


def sealed_views(file: Path | None) -> dict[str, ViewerKey]:
    """Return by meeting place what opens sealed swarms: the viewer key in ``file``, or else all of this home's members.

    Raises ConfigurationError or StateError.
    """
    keys = [view_of(swarm) for swarm in swarms_here()] if file is None else [read_viewer_key(file)]
    return {key.meeting: key for key in keys if key}


def view_of(directory: Path) -> ViewerKey | None:
    """Return what the keys of this machine open of the swarm in ``directory``; None if it is open, or they are none.

    Raises ManifestError or ModelError.
    """
    manifest = open_manifest(directory)
    if not manifest.is_sealed:
        return None
    with closing(LocalBlockStore(directory, read_only=True)) as store:
        ledger = open_gate(manifest, store, ErrorLog()).ledger
    assert ledger is not None
    members = [MemberSecrets(identity, ledger) for identity in keys_here(directory)]
    root = next(filter(None, (member.root for member in members)), None)
    epochs = {name: secret for member in members for name, secret in member.epochs.items()}
    return ViewerKey(manifest.swarm, members_place(root), epochs) if root and epochs else None


def write_viewer_key(directory: Path, file: Path) -> ViewerKey:
    """Write what the keys of this machine open of a swarm into ``file``, its owner's alone; return it.

    Raises ConfigurationError if they open nothing or the file is there, NotWrittenError.
    """
    key = view_of(directory)
    if key is None:
        raise ConfigurationError(
            "there is nothing to open: the swarm is open to all, or no key of this machine is a member's",
            "make a viewer key where a member of a sealed swarm is",
        )
    if not create_once(file, key.to_text().encode(), mode=0o600):
        raise ConfigurationError(f"{file} exists", "name a file that is not there yet")
    return key


def read_viewer_key(file: Path) -> ViewerKey:
    """Read a viewer key, which is its owner's alone from then on; raises ConfigurationError or StateError."""
    try:
        data = read_private(file, MAX_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot read the viewer key {file}: {error.strerror}", "check the path") from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{file} has more than {MAX_BYTES} bytes", "this is no viewer key")
    try:
        return ViewerKey.parse(data.decode("ascii", "replace"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file} is no viewer key: {error.problem}", error.remedy) from error
