"""Contributions as people and machines read them: who is of how much use to the others, as raters say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnae.errors import LearnaeError, StateError
from learnae.peer.contributions.book import ContributionBook, Score
from learnae.protocol.identity import peer_name
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import read_regular
from learnae.system.paths import CONTRIBUTIONS_FILE

_MOST_BYTES = 1 << 20  # of a book: more than 1,024 raters say


@dataclass(frozen=True, slots=True)
class Contribution:
    """What is known of one peer, ``shown`` to people so; ``score`` is None while no other has rated it."""

    peer: str
    shown: str
    score: Score | None


def contributions_of(book: ContributionBook, names: Mapping[bytes, str]) -> list[Contribution]:
    """Return what ``book`` says of these authors, by their names, the most useful first."""
    scores = book.scores(names)
    found = [Contribution(peer_name(author), shown, scores.get(author)) for author, shown in names.items()]
    return sorted(
        found, key=lambda each: (-each.score.usefulness if each.score else float("inf"), each.shown, each.peer)
    )


def plain(found: list[Contribution]) -> list[dict[str, Any]]:
    """Return it as ``--json`` prints it."""
    return [
        {
            "peer": each.peer,
            "name": each.shown,
            "usefulness": each.score.usefulness if each.score else None,
            "raters": each.score.raters if each.score else 0,
            "low": each.score.low if each.score else None,
            "high": each.score.high if each.score else None,
            "own": each.score.own if each.score else None,
        }
        for each in found
    ]


def read_book(directory: Path, manifest: Manifest) -> ContributionBook | None:
    """Read what the peer in ``directory`` knows of contributions in this swarm; None if it is nothing.

    Raises StateError for what is damaged.
    """
    path = directory / CONTRIBUTIONS_FILE
    try:
        book = ContributionBook.from_bytes(read_regular(path, _MOST_BYTES), manifest.limits)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "run it as the user it belongs to") from error
    except LearnaeError as error:
        raise StateError(f"{path}: {error.problem}", "start its peer: what cannot be read is measured anew") from error
    return book if book.swarm == manifest.swarm else None
