"""``learnae contributions``: of how much use peers' weights have lately been to the others, as these say."""

import argparse
from pathlib import Path

from rich.text import Text

from learnae.cli.output import Cell, PeerName, console, fitting, print_json, shedding
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.errors import ConfigurationError
from learnae.peer.contributions.book import ContributionBook
from learnae.peer.contributions.rating import why_unrated
from learnae.peer.learning.jury import LEAST_WITNESSES
from learnae.reports.contributions import Contribution, contributions_of, plain, read_book
from learnae.runtime.homes import existing_peer
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import check_target
from learnae.system.installation import how_to_install, is_installed
from learnae.system.paths import last_status, peers_here

_PICTURE = ".png"
_NOTE = "1 is usual, less than 0 harm. A hint for people: no reward should hang on it"


def contributions(options: argparse.Namespace) -> int:
    """Show what a peer of this machine knows of contributions, as a table, in JSON or as a picture."""
    if options.picture:
        check_target(options.picture, [_PICTURE])
        if not is_installed("matplotlib"):
            raise ConfigurationError("--picture needs matplotlib", how_to_install("demo"))
    only = existing_peer(options.peer) if options.peer else None
    swarm = choose_swarm(options.swarm or (str(last_status(only).get("swarm") or "") if only else ""))
    manifest = swarm.manifest
    if why := why_unrated(manifest):
        raise ConfigurationError(f"swarm {manifest.name!r} has no contributions", why)
    directory, book = _choose([only] if only else peers_here(), manifest)
    observer = observe(swarm.directory)
    authors = observer.publishers()
    names = {authors[view.peer]: view.shown for view in observer.peers() if view.peer in authors}
    found = contributions_of(book, names)
    title = f"{manifest.name}: how useful peers are to each other, as {directory.name} has heard"
    if options.picture:
        from learnae.reports.pictures import draw_contributions  # noqa: PLC0415 - matplotlib

        draw_contributions(title, found, options.picture)
    if options.json:
        print_json({"swarm": str(manifest.swarm), "name": manifest.name, "of": directory.name, "peers": plain(found)})
        return 0
    columns = ["peer", "key", ">useful", ">raters", ">half of them", ">own"]
    shown = fitting(shedding(title, columns, [_row(each) for each in found], ["half of them", "key", "own"]))
    shown.caption = Text(_NOTE, "italic")
    console.print(shown)
    return 0


def _choose(directories: list[Path], manifest: Manifest) -> tuple[Path, ContributionBook]:
    """Return the peer that has heard most, and its book; raises ConfigurationError if none has anything."""
    books = [(path, book) for path in directories if (book := read_book(path, manifest)) is not None]
    known = [each for each in books if each[1].heard or each[1].measured]
    if not known:
        who = directories[0].name if len(directories) == 1 else "any peer here"
        remedy = f"let it train: it measures every ten seconds, beside {LEAST_WITNESSES} others who tell of their rows"
        raise ConfigurationError(f"nothing is known to {who} of contributions in swarm {manifest.name!r} yet", remedy)
    return max(known, key=lambda each: (len(each[1].raters), each[1].said or 0))


def _row(each: Contribution) -> list[Cell]:
    score = each.score
    if score is None:
        return [PeerName(each.shown), each.peer[:8], "-", "0", "-", "-"]
    own = "-" if score.own is None else f"{score.own:.2f}"
    half = f"{score.low:.2f} to {score.high:.2f}"
    return [PeerName(each.shown), each.peer[:8], f"{score.usefulness:.2f}", f"{score.raters}", half, own]
