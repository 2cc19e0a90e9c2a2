"""From a peer to the parts of the page: read on the tick's thread, and handed over as texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnae.adapters.local.bans import Bans
from learnae.basics import strict_json
from learnae.basics.headline import Headline, headline
from learnae.basics.peer_names import harmless, told_apart
from learnae.dashboard.answers import Answers
from learnae.dashboard.board import History, Point
from learnae.dashboard.lineage import Lineage
from learnae.errors import ConfigurationError, StateError
from learnae.protocol.identity import peer_name
from learnae.runtime.linked_peer import LinkedPeer
from learnae.runtime.version_store import read_version, version_names
from learnae.system.paths import VERSIONS

_KEY_CHARACTERS = 8
_TEXT_CHARACTERS = 400
_VERSION_LOOK_MS = 10_000
_MOST_READ = 4 << 20  # bytes of a version that is looked into
_MOST_MERGED = 12  # of one update, that are drawn
_FIGURES = (
    "steps", "training_loss", "loss", "accuracy", "mae", "r2", "holdout_rows", "held_out_rows", "training_rows",
    "skipped_rows", "peers", "following", "messages", "bytes_out", "bytes_in", "seq", "settled", "listening",
    "catching_up", "unmeasured", "held_back", "personal", "engine", "device", "precision", "membership",
    "only_summaries", "training_seconds", "summary", "summaries",
)  # fmt: skip
_INTAKE = ("samples", "unlabelled", "unknown_labels", "sources", "buffer", "inference", "resources")


@dataclass(frozen=True, slots=True)
class Offers:
    """What a role lets the page do: ``classes`` that readings can be labelled with, and whether it can ``invite``.

    ``bytes_per_day`` and ``bytes_per_hour`` are the owner's limits, 0 for none.
    """

    classes: tuple[str, ...] = ()
    invite: bool = False
    bytes_per_day: int = 0
    bytes_per_hour: int = 0


@dataclass(eq=False)
class Parts:
    """Reads a ``linked`` peer. ``note`` is called once in a while, ``texts`` only for viewers."""

    linked: LinkedPeer
    offers: Offers
    history: History
    lineage: Lineage = field(default_factory=Lineage)

    def __post_init__(self) -> None:
        self._answers = Answers(self.linked.peer.manifest, self.linked.peer.options.held_out)
        self._versions: dict[tuple[str, int, int], dict[str, Any]] = {}  # by name, time and size of the file
        self._bans = Bans(self.linked.workspace.swarm.directory)
        self._texts: dict[str, tuple[Any, str]] = {}  # of the last time: most rows of many peers are as they were
        self._keys: dict[bytes, str] = {}  # by author
        self._looked = float("-inf")  # ms, when versions were read
        self._shown: tuple[frozenset[tuple[str, str]], dict[str, str]] = (frozenset(), {})

    def note(self) -> None:
        """Add a point to the curves."""
        peer = self.linked.peer
        metrics, personal, best = peer.training.metrics, peer.options.personal, self.linked.versions.best
        self.history.note(
            Point(
                peer.ports.clock.now(),
                score_of(metrics),
                metrics.loss if metrics else None,
                personal.choice.score if personal else None,
                score_of(best),
            )
        )

    def headline(self, status: Mapping[str, Any]) -> Headline:
        """Return the sentence about the peer, with what it has gained."""
        return headline(status, self.history.gain())

    def texts(self, status: Mapping[str, Any]) -> dict[str, str]:
        """Return all parts by name, as JSON; ``status`` is the peer's (Peer.status)."""
        said = self.headline(status)
        found: dict[str, Any] = {
            "now": {
                "time": status["time"],
                "state": said.state,
                "text": said.text,
                "remedy": said.remedy,
                "point": self.history.last,
            },
            "peer": self._about(status),
            "figures": {name: status[name] for name in _FIGURES if name in status},
            "intake": {name: status[name] for name in _INTAKE if name in status},
            "privacy": self._privacy(status),
            "budget": {"per_day": self.offers.bytes_per_day, "per_hour": self.offers.bytes_per_hour},
            "links": {name: str(state)[:_TEXT_CHARACTERS] for name, state in status.get("connections", {}).items()},
            "warnings": self._warnings(status),
            "versions": self._kept(status["time"]),
            "answers": self._answers.of(self.linked.peer.estimate()),
            "lineage": self._drawn(status["time"]),
            **self._peers(status),
        }
        known, self._texts = self._texts, {}
        for name, value in found.items():
            before = known.get(name)
            self._texts[name] = before if before and before[0] == value else (value, strict_json.dumps(value))
        return {name: text for name, (_, text) in self._texts.items()}

    def _about(self, status: Mapping[str, Any]) -> dict[str, Any]:
        manifest = self.linked.peer.manifest
        return {
            **{name: status[name] for name in ("name", "shown", "role", "peer", "software")},
            "swarm": str(manifest.swarm),
            "swarm_name": harmless(manifest.name),
            "task": manifest.task,
            "parameters": manifest.model.count,
            "directory": self.linked.workspace.directory.name,
            "classes": list(self.offers.classes),
            "invite": self.offers.invite,
        }

    def _privacy(self, status: Mapping[str, Any]) -> dict[str, Any] | None:
        spent, agreed = status.get("privacy"), self.linked.peer.manifest.privacy.training
        if spent is None:
            return None
        return {**spent, "limit": agreed.epsilon if agreed else None}

    def _warnings(self, status: Mapping[str, Any]) -> list[dict[str, Any]]:
        last = status["last_problems"]
        return [
            {"name": name, "count": count, "text": harmless(str(last.get(name, ""))[:_TEXT_CHARACTERS])}
            for name, count in sorted(status["problems"].items())
        ]

    def _kept(self, now: int) -> list[dict[str, Any]]:
        """Return the versions on the disk, which is looked at now and then; a file is read once, a large one never."""
        if now - self._looked < _VERSION_LOOK_MS:
            return list(self._versions.values())
        self._looked, known, self._versions = now, self._versions, {}
        directory = self.linked.workspace.directory
        for name in version_names(directory):
            try:
                status = (directory / VERSIONS / name).stat()
                seen = (name, status.st_mtime_ns, status.st_size)
                self._versions[seen] = known.get(seen) or self._read(directory, name, status.st_size)
            except (OSError, ConfigurationError, StateError):  # gone since, or damaged: learnae versions says so
                continue
        return list(self._versions.values())

    def _read(self, directory: Path, name: str, size: int) -> dict[str, Any]:
        if size > _MOST_READ:
            return {"name": name, "time": None, "steps": None, "score": None, "loss": None}
        version = read_version(directory, name)
        metrics = version.metrics
        return {
            "name": name,
            "time": version.time,
            "steps": version.steps,
            "score": score_of(metrics),
            "loss": metrics.loss if metrics else None,
        }

    def _drawn(self, now: int) -> dict[str, Any]:
        """Return the last updates, authors by their places among ``keys``."""
        self.lineage.note(self.linked.peer.following.news)
        places: dict[bytes, int] = {}
        events = [
            (time, *(places.setdefault(each, len(places)) for each in (author, *merged[:_MOST_MERGED])))
            for time, author, merged in self.lineage.drawn(now)
        ]
        return {"keys": list(map(peer_name, places)), "events": events}

    def _peers(self, status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return a row for each peer that is known, by ``peers/KEY``."""
        peer, now = self.linked.peer, status["time"]
        profiles, news = peer.view.names, peer.following.news
        every = {*profiles, *news, *peer.view.summaries, peer.author}
        self._keys = {author: self._keys.get(author) or peer_name(author) for author in every}
        authors = {key: author for author, key in self._keys.items()}
        names = frozenset((key, profiles[a].name if a in profiles else "?") for key, a in authors.items())
        if names != self._shown[0]:
            self._shown = names, told_apart(dict(names))
        shares, muted = peer.merging.shares(now), peer.merging.muted()
        bans = self._bans.read()
        live = set(peer.following.live(now))
        rows: dict[str, dict[str, Any]] = {}
        for key, author in authors.items():
            profile, update = profiles.get(author), news[author].update if author in news else None
            summary = peer.view.summaries.get(author)
            is_me = author == peer.author
            share = shares.get(b"" if is_me else author)
            ban = bans.get(author)
            if peer.tangle.is_banned(author):
                state, why = "banned", "it has signed two messages with one number"
            elif ban or author in peer.view.left_out:
                state, why = "banned", ban.why if ban else "banned on this machine"
            elif key in muted:
                state, why = "muted", muted[key]
            elif author in peer.following.offences:
                state, why = "muted", peer.following.offences[author]
            elif update is None:
                state, why = ("summaries" if summary else "joined"), ""
            elif not is_me and author not in live:
                state, why = "away", ""
            elif update.settled:
                state, why = "settled", ""
            else:
                state, why = ("merged" if share is not None else "heard"), ""
            metrics = update.metrics if update else None
            rows[f"peers/{key}"] = {
                "name": self._shown[1].get(key, "?"),
                "key": key[:_KEY_CHARACTERS],
                "me": is_me,
                "role": profile.role if profile else "?",
                "version": harmless(profile.software)[:40] if profile else "?",
                "state": state,
                "why": harmless(why)[:_TEXT_CHARACTERS],
                "heard": news[author].time if author in news else summary.time if summary else None,
                "weight": None if share is None else round(share, 4),
                "steps": update.steps if update else None,
                "samples": update.samples if update and not update.privacy else None,
                "score": score_of(metrics),
                "loss": metrics.loss if metrics else None,
                "out": update.bytes_out if update else None,
                "in": update.bytes_in if update else None,
            }
        return rows


def score_of(metrics: Any) -> float | None:
    """Return accuracy, or R² where there are no classes; None without metrics (bodies.Metrics)."""
    if metrics is None:
        return None
    found: float | None = metrics.accuracy if metrics.accuracy is not None else metrics.r2
    return found
