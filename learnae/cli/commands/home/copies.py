"""``learnae backup`` and ``restore``."""

import argparse
import sys
from pathlib import Path

from learnae.cli.output import human_bytes, print_fields, print_json
from learnae.cli.progress import progress
from learnae.errors import ConfigurationError, LearnaeError, ManifestError, ModelError
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.backup import back_up
from learnae.runtime.backup import restore as take_back
from learnae.runtime.homes import clear_left, existing_peer, swarm_of
from learnae.swarm.directory import open_manifest, swarms_here
from learnae.system.atomic_files import check_target
from learnae.system.paths import KEY_FILE, home, peers_here


def backup(options: argparse.Namespace) -> int:
    """Write the peers of this home, or one of them, and their swarms into a file."""
    check_target(options.file, [".tar"])
    peers = [existing_peer(options.peer)] if options.peer else peers_here()
    peers = [peer for peer in peers if (peer / KEY_FILE).exists()]
    if not peers:
        raise ConfigurationError(f"there is no peer with a key in {home()}", "join a swarm first: learnae join")
    swarms, damaged = swarms_here(), dict[Path, LearnaeError]()
    if options.peer and (own := swarm_of(peers[0])):  # of one that has not run it may be any
        swarms = [path for path in swarms if path.name == str(own)]
    for path in swarms:
        try:
            open_manifest(path)
        except (ManifestError, ModelError) as error:  # keys are kept all the same
            damaged[path] = error
    with progress(f"writing {options.file.name}") as done:
        size = back_up(peers, [path for path in swarms if path not in damaged], options.file, done)
    if options.json:
        left_out = list(map(str, damaged))
        names = [peer.name for peer in peers]
        print_json({"file": str(options.file), "bytes": size, "peers": names, "left_out": left_out})
    else:
        fields = {
            "file": f"{options.file}, {human_bytes(size)}",
            "peers": ", ".join(peer.name for peer in peers),
            "left out": "readings, results, logs, configuration",
            "keep it safe": "its keys are these peers",
        }
        print_fields(fields)
    for why in damaged.values():
        print(f"learnae: left out: {why}", file=sys.stderr)
    return int(bool(damaged))


def restore(options: argparse.Namespace) -> int:
    """Take peers and swarms of a backup into this home."""
    clear_left()
    with progress(f"reading {options.file.name}") as done:
        found, known = take_back(options.file, done)
    peers = {path.name: peer_name(Identity.load(path / KEY_FILE).author) for path in found}
    if options.json:
        print_json({"peers": peers, "known": known})
    else:
        print_fields({**peers, **{name: f"stays as it is here, {here}" for name, here in known.items()}})
        print("\nnext: start them as before; they hear the others first. Never run one key on two machines at once")
    return 0
