"""``learnae key``: the key of a peer before it is in any swarm, for who founds one with it."""

import argparse

from learnae.cli.output import print_fields, print_json
from learnae.membership.policy import Founder
from learnae.protocol.identity import Identity, peer_name
from learnae.system.atomic_files import writing
from learnae.system.paths import KEY_FILE, peer_directory
from learnae.system.private_files import make_private


def key(options: argparse.Namespace) -> int:
    """Make the key of a peer of this machine, unless it is there, and print what it founds a swarm by."""
    directory = peer_directory(options.name or "trainer")
    with writing(directory):
        make_private(directory)
    identity = Identity.load_or_create(directory / KEY_FILE)
    fields = {"peer": peer_name(identity.author), "founder": Founder(identity.author, identity.x25519).to_text()}
    if options.json:
        print_json(fields)
    else:
        print_fields({**fields, "next": "learnae swarm create --founder FOUNDER, on one machine, with those of all"})
    return 0
