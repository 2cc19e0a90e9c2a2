"""``learnae dashboard``: where the page of a running peer is, with a token that works once."""

import argparse
import sys
from pathlib import Path

from learnae.adapters.local.lock import holder
from learnae.cli.output import print_json
from learnae.dashboard.address import PageAddress
from learnae.errors import ConfigurationError
from learnae.runtime.homes import existing_peer
from learnae.system.paths import LOCK_FILE, last_status, peers_here
from learnae.text import shown

_HOW = (
    'write listen = "127.0.0.1:8088" below [dashboard] in its {role}.toml, and start it again; if it is there: its log'
)


def dashboard(options: argparse.Namespace) -> int:
    """Print the address, and open it if that is wished."""
    directory, address = _choose(options.peer)
    url = address.with_token()
    if options.json:
        print_json({"peer": directory.name, "url": url})
    else:
        print(url)
        if sys.stdout.isatty():
            print("it works once, and for ten minutes", file=sys.stderr)
    if options.open:
        import webbrowser  # noqa: PLC0415 - subprocesses, for this alone

        if not webbrowser.open(url):
            raise ConfigurationError("no browser was found here", "open the address above in one of this machine")
    return 0


def _choose(name: str | None) -> tuple[Path, PageAddress]:
    """Return the only running peer here that shows a page, or the one of that ``name``; raises ConfigurationError."""
    here = [existing_peer(name)] if name else peers_here()
    running = {path: process for path in here if (process := holder(path / LOCK_FILE)) is not None}
    if not running:
        who = f"peer {name!r}" if name else "no peer"
        raise ConfigurationError(f"{who} {'does not run' if name else 'runs here'}", "start it: trainer-node start")
    said = {path: PageAddress.read(path) for path in running}
    # of an earlier run, the address may be another program's by now
    found = {path: each for path, each in said.items() if each and running[path] in (each.process, 0)}
    if not found:
        role = last_status(next(iter(running))).get("role", "trainer")
        names = shown([directory.name for directory in running])
        raise ConfigurationError(f"no dashboard is shown by {names}", _HOW.format(role=role))
    if len(found) > 1:
        names = shown([directory.name for directory in found])
        raise ConfigurationError(f"{len(found)} peers show one", f"give --peer: {names}")
    return next(iter(found.items()))
