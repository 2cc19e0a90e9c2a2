"""``learnae watch``: a live table of a swarm, from this machine or over a broker."""

from __future__ import annotations

import argparse

from learnae.cli.commands.look.peers import swarm_table
from learnae.cli.commands.look.watch_broker import watch_broker
from learnae.cli.refresh import look
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.runtime.observer import PeerView


def watch(options: argparse.Namespace) -> int:
    """Show a live table until interrupted; with --json, one line an interval."""
    if options.broker:
        return watch_broker(options)
    observer = observe(choose_swarm(options.swarm).directory)

    def peers() -> list[PeerView]:
        observer.refresh()
        return observer.peers()

    return look(options, peers, lambda: swarm_table(observer, peers()))
