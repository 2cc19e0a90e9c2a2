"""``learnae move``: the home goes to another place."""

import argparse

from learnae.cli.output import print_fields, print_json
from learnae.runtime.homes import move_home
from learnae.system.paths import home


def move(options: argparse.Namespace) -> int:
    """Move all that Learnae keeps for this user; the old place becomes a link."""
    old = home().absolute()
    fields = {"home": str(move_home(options.directory)), "link": str(old)}
    if options.json:
        print_json(fields)
    else:
        print_fields({**fields, "next": "start the peers as before: the link leads there"})
    return 0
