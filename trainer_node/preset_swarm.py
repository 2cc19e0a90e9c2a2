"""``trainer-node start --preset NAME``: the preset's swarm on this machine, made if there is none."""

import time
from pathlib import Path

from learnae.errors import ConfigurationError, LearnaeError
from learnae.swarm.directory import Swarm, alone, create_swarm, open_manifest, open_swarm, swarms_here
from learnae.swarm.presets import preset


def find_or_create(name: str) -> Swarm:
    """Open the only swarm of this preset here; make one if there is none.

    Raises ManifestError for an unknown preset, ConfigurationError if there are several swarms of it.
    """
    preset(name, 0)
    with alone():  # or two that start together make two swarms
        found = [path for path in swarms_here() if _is_of(path, name)]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ConfigurationError(f"there are {len(found)} swarms of preset {name!r} here", f"give --swarm: {names}")
        return open_swarm(found[0]) if found else create_swarm(preset(name, time.time_ns() // 1_000_000))


def _is_of(directory: Path, name: str) -> bool:
    try:
        manifest = open_manifest(directory)
    except LearnaeError:
        return False  # another version's swarm, or none at all
    return manifest.swarm == preset(name, manifest.created).swarm
