"""``learnae summary``: what peers tell of their rows, class by class, and how much of it is noise."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from learnae.audit.own_rows import rows_of
from learnae.cli.output import Cell, PeerName, console, print_json, table
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.errors import ConfigurationError
from learnae.privacy.masking.noise_share import share
from learnae.privacy.policy import MASKED
from learnae.protocol.bodies import COUNT_STEPS, Summary
from learnae.protocol.sum_bodies import LEAST_MEMBERS, MOST_MEMBERS
from learnae.runtime.observer import PeerView
from learnae.samples.dp_statistics import Layout, Statistics, layout_of, most_rows, noise_of, overlap_of, why_none
from learnae.samples.pooling import pool, suggestion
from learnae.samples.proxy_rows import Group, believable, groups_of
from learnae.swarm.manifest import Manifest
from learnae.text import shown

if TYPE_CHECKING:
    from learnae.peer.masking.heard import Sum

_UNKNOWN = "unknown"
_COLUMNS = ["peer", "class", ">rows", ">+-", ">means", ">+- each", ">spreads", ">epsilon"]


class _Author(NamedTuple):
    """Who a summary is of: a peer's key and name, or a masked sum's."""

    peer: str
    shown: str


def summary(options: argparse.Namespace) -> int:
    """Show the summaries of all peers, or of one; with --json every value, and which scale all together suggest."""
    swarm = choose_swarm(options.swarm)
    manifest, layout = swarm.manifest, layout_of(swarm.manifest)
    if layout is None:
        raise ConfigurationError(f"swarm {manifest.name!r} has no summaries", why_none(manifest))
    if options.data:
        return _preview(options, layout, manifest)
    observer, found = observe(swarm.directory), list[tuple[_Author, Summary]]()
    if manifest.privacy.summary.sharing == MASKED:
        if options.peer:
            problem = f"swarm {manifest.name!r} masks summaries: none of one peer is seen"
            raise ConfigurationError(problem, "leave out the peer: learnae summary")
        found = [_total(layout, manifest, each) for each in observer.totals()]
        said = {view.peer: body for view, body in found}
    else:
        said = observer.summaries()
        views = [view for view in observer.peers() if _is_meant(view, options.peer)]
        found = [(_Author(view.peer, view.shown), said[view.peer]) for view in views if view.peer in said]
    if options.peer and not found:
        known = shown([view.shown for view in observer.peers() if view.peer in said])
        raise ConfigurationError(f"no summary of {options.peer!r} is here", f"there is one of: {known or 'no peer'}")
    if options.json:
        peers = [{"peer": view.peer, "name": view.shown, **_fields(layout, manifest, body)} for view, body in found]
        print_json({"peers": peers, "together": _together(layout, manifest, said)})
        return 0
    rows = [row for view, body in found for row in _rows(layout, manifest, PeerName(view.shown), body)]
    console.print(table(f"{manifest.name}: summaries of rows, with noise", _COLUMNS, rows))
    return 0


def _preview(options: argparse.Namespace, layout: Layout, manifest: Manifest) -> int:
    """Show what would be sent of a file's rows; its noise is drawn for this alone, and nothing leaves the machine."""
    most, privacy = most_rows(manifest), manifest.privacy
    own, statistics = rows_of(manifest, options.data, most=most), Statistics(layout, most)
    statistics.add(own.rows, own.targets)
    words: list[str] = []
    if privacy.summary.sharing == MASKED:
        body, words = _addend(layout, manifest, statistics)
    else:
        body = statistics.release(1, privacy, overlap_of(manifest))
    if statistics.rows < privacy.summary.rows:
        words.append(
            f"nothing would be sent of so few rows: about {privacy.summary.rows} must be there, and {own.origin} has "
            f"{statistics.rows}"
        )
    if options.json:
        print_json({"peers": [{"peer": None, "name": own.origin, **_fields(layout, manifest, body)}], "notes": words})
        return 0
    what = "added to a masked sum" if privacy.summary.sharing == MASKED else "sent"
    title = f"{manifest.name}: what would be {what} of {own.origin}; nothing is"
    console.print(table(title, _COLUMNS, _rows(layout, manifest, own.origin, body)))
    for line in words:
        console.print(line, markup=False, highlight=False)
    return 0


def _addend(layout: Layout, manifest: Manifest, statistics: Statistics) -> tuple[Summary, list[str]]:
    """Return what one of a usual number of members would add to a masked sum, before its mask; and what is seen of it.

    Its noise is its share alone.
    """
    from learnae.peer.masking.summary_source import SummarySource  # noqa: PLC0415 - as above
    from learnae.peer.masking.sums import BEST_MEMBERS as MEMBERS  # noqa: PLC0415 - ciphers, for no other swarm

    noise = noise_of(layout, manifest.privacy, overlap_of(manifest))
    drawn = SummarySource(layout, statistics.sums, noise.deviation, 1).draw(MEMBERS)
    assert drawn is not None
    part = math.sqrt(share(MEMBERS))
    body = Summary(
        1,
        replace(noise, deviation=noise.deviation * part),
        layout.form,
        layout.columns,
        layout.groups,
        drawn.astype("<i4").tobytes(),
    )
    words = [
        f"no member sees this: it is masked, and all see the total of {LEAST_MEMBERS} to {MOST_MEMBERS} members",
        f"the noise here is this member's share in a sum of {MEMBERS}: {part:.2f} of what protects the total, of which "
        f"epsilon {noise.epsilon:g} holds, and which has {_total_noise(noise.deviation, MEMBERS):.1f} rows of noise",
    ]
    return body, words


def _total_noise(deviation: float, members: int) -> float:
    """Return the standard deviation of a total's count, in rows."""
    return deviation * math.sqrt(members * share(members)) / COUNT_STEPS


def _total(layout: Layout, manifest: Manifest, known: "Sum") -> "tuple[_Author, Summary]":
    """Return a total of a masked sum as what one peer would have said."""
    privacy, members = manifest.privacy, len(known.group.authors)
    each = noise_of(layout, privacy, overlap_of(manifest))
    noise = replace(each, deviation=each.deviation * math.sqrt(members * share(members)))
    sums = known.total().astype("<i4").tobytes()
    body = Summary(1, noise, layout.form, layout.columns, layout.groups, sums)
    return _Author(known.group.name.hex(), f"total of {members} members"), body


def _is_meant(view: PeerView, name: str) -> bool:
    return not name or name in (view.name, view.shown) or (len(name) > 3 and view.peer.startswith(name))


def _class(manifest: Manifest, label: int | None) -> str:
    if label is None:
        return _UNKNOWN if manifest.class_count else ""
    return manifest.classes[label] if manifest.classes else str(label)


def _rows(layout: Layout, manifest: Manifest, peer: Cell, body: Summary) -> list[list[Cell]]:
    noise = body.noise.deviation / COUNT_STEPS
    groups = groups_of(layout, body)
    rows: list[list[Cell]] = []
    for group in groups:
        values = [_range(group.mean), f"{group.noise:.2g}", _range(group.spreads)]
        count = [f"{group.count:,.0f}", f"{noise:.1f}"]
        rows.append([peer, _class(manifest, group.label), *count, *values, f"{body.noise.epsilon:g}"])
    few = layout.groups - len(groups)
    rest = "other shape than the swarm asks for" if not layout.fits(body) else f"{few} more with too few rows"
    return rows if groups and not few else [*rows, [peer, rest, *([""] * 5), f"{body.noise.epsilon:g}"]]


def _range(values: np.ndarray[Any, Any]) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


def _fields(layout: Layout, manifest: Manifest, body: Summary) -> dict[str, Any]:
    noise = body.noise
    return {
        "release": body.release,
        "epsilon": noise.epsilon,
        "delta": noise.delta,
        "overlap": noise.overlap,
        "form": body.form,
        "rows": body.rows,
        "rows_noise": noise.deviation / COUNT_STEPS,
        "classes": [_group_fields(manifest, group) for group in groups_of(layout, body)],
    }


def _group_fields(manifest: Manifest, group: Group) -> dict[str, Any]:
    return {
        "class": _class(manifest, group.label),
        "rows": group.count,
        "mean": group.mean.tolist(),
        "mean_noise": group.noise,
        "spread": group.spreads.tolist(),
    }


def _together(layout: Layout, manifest: Manifest, said: Mapping[str, Summary]) -> dict[str, Any] | None:
    kept = believable({peer.encode(): groups_of(layout, body) for peer, body in said.items()})
    groups: Sequence[Group] = [group for own in kept.values() for group in own]
    if not groups:
        return None
    features, pooled = manifest.features, pool(groups)
    scaled = suggestion(pooled, features.shift, features.scale) if features else suggestion(pooled)
    return {"rows": pooled.count, **scaled}
