"""The page about a swarm as this machine sees it: who is here, how good, how that came, and what is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from learnae.errors import LearnaeError
from learnae.reports.chart import Line, chart
from learnae.reports.evaluation import Evaluation
from learnae.reports.history import PeerHistory
from learnae.reports.page import LINES, Html, fields, heading, page, paragraph, table
from learnae.reports.peer_columns import peer_columns
from learnae.reports.told import told_fields, told_tables
from learnae.runtime.observer import Observer, PeerView
from learnae.runtime.version_store import read_version, version_names
from learnae.swarm.manifest import Manifest
from learnae.text import ago, counted, decimal, significant

_WHERE = "on each peer's own held-out rows"
_CHARTS = {
    "accuracy": f"accuracy, {_WHERE}",
    "r2": f"R², {_WHERE}",
    "loss": f"loss, {_WHERE}",
    "bytes_out": "bytes sent, in all",
}


def swarm_page(
    observer: Observer,
    histories: Sequence[PeerHistory],
    peers_here: Sequence[Path],
    measured: tuple[str, Evaluation] | None = None,
) -> str:
    """Return the page of the swarm that ``observer`` has read, with these ``histories``.

    ``peers_here`` are directories of its peers on this machine, whose versions are listed; ``measured`` says on what a
    model was measured, and what came of it.
    """
    parts = [
        *_about(observer),
        *_curves(histories),
        *_peers(observer.peers()),
        *_versions(peers_here),
        *(_measured(observer.manifest, *measured) if measured else ()),
    ]
    return page(f"Swarm {observer.manifest.name}", parts)


def _about(observer: Observer) -> Iterator[Html]:
    manifest, peers = observer.manifest, observer.peers()
    newest = max((view.heard for view in peers), default=0)
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    said = "No peer has said anything yet that is here"
    if newest:
        said = (
            f"{counted(len(peers), 'peer')}, each with data of its own that has not left it; {len(observer.tangle):,} "
            f"messages are here, the newest {ago(time.time() - newest / 1000)}"
        )
    yield paragraph(f"{said}. Made on {made}.")
    yield fields(
        [
            ("swarm", observer.swarm),
            ("learns", manifest.task + (f": {', '.join(manifest.classes)}" if manifest.classes else "")),
            ("model", f"{manifest.model.count:,} parameters, loss {manifest.loss}"),
        ]
    )
    if observer.is_blind:
        yield paragraph("What is said in this swarm is sealed, and no key on this machine opens it: learnae members.")


def _curves(histories: Sequence[PeerHistory]) -> Iterator[Html]:
    yield heading("Over time")
    drawn = sorted(histories, key=lambda each: (not each.here, -len(each.points)))[:LINES]
    charts = [chart(title, _lines(drawn, name), may_be_log=name == "loss") for name, title in _CHARTS.items()]
    if not any(charts):
        yield paragraph("No peer has said yet how good its model is.")
        return
    yield from charts
    if len(histories) > len(drawn):
        yield paragraph(f"Drawn are {len(drawn)} of {len(histories)} peers, those of this machine first.")
    away = [each for each in histories if not each.here]
    if away:
        yield paragraph(
            f"Of {counted(len(away), 'peer')} of other machines only what they have said since their last checkpoint "
            "is here."
        )
    score = "accuracy" if any("accuracy" in point.values for each in histories for point in each.points) else "r2"
    yield table(
        f"first, best and last {_CHARTS[score]}",
        ["peer", "from", "to", ">points", ">first", ">best", ">last"],
        [_row(each, score) for each in histories],
    )


def _lines(histories: Sequence[PeerHistory], name: str) -> list[Line]:
    return [
        Line(each.shown, [(point.time, point.values[name]) for point in each.points if name in point.values])
        for each in histories
    ]


def _row(history: PeerHistory, score: str) -> list[str]:
    values = [point.values[score] for point in history.points if score in point.values]
    first, best, last = (decimal(value) for value in (values[0], max(values), values[-1])) if values else ("-",) * 3
    begin, end = (_date(history.points[place].time) for place in (0, -1))
    return [history.shown, begin, end, f"{len(history.points):,}", first, best, last]


def _peers(peers: Sequence[PeerView]) -> Iterator[Html]:
    if not peers:
        return
    yield heading("Peers")
    columns, cells = peer_columns(peers)
    rows = [
        [
            view.shown + (" (banned)" if view.banned else ""),
            *cells_of,
            _date(view.heard) if view.heard else "-",
            f"{view.bytes_out:,}",
            f"{view.bytes_in:,}",
        ]
        for view, cells_of in zip(peers, cells, strict=True)
    ]
    yield table("", ["peer", *columns, "heard", ">bytes out", ">bytes in"], rows)


def _versions(peers_here: Sequence[Path]) -> Iterator[Html]:
    rows = []
    for directory in peers_here:
        for name in version_names(directory):
            try:
                version = read_version(directory, name)
            except LearnaeError as error:
                rows.append([directory.name, name, str(error), "", "", "", ""])
                continue
            metrics = version.metrics
            score = (metrics.r2 if metrics.accuracy is None else metrics.accuracy) if metrics else None
            merged = f"{len(version.merged)}"
            loss = significant(metrics.loss if metrics else None)
            rows.append([directory.name, name, _date(version.time), f"{version.steps:,}", loss, decimal(score), merged])
    if rows:
        yield heading("Versions kept here")
        yield table("", ["peer", "version", "kept", ">steps", ">loss", ">accuracy or R²", ">merged from"], rows)


def _measured(manifest: Manifest, what: str, found: Evaluation) -> Iterator[Html]:
    yield heading(f"Measured on {what}")
    yield fields(told_fields(found, manifest.loss).items())
    for told in told_tables(found):
        yield table(told.title, told.columns, told.rows)


def _date(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))
