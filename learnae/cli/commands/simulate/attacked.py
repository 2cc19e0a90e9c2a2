"""``learnae simulate --attack``: what honest peers lose to liars, of each kind, with each rule of merging."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.cli.arguments import count, place
from learnae.cli.output import console, print_json, table
from learnae.errors import ConfigurationError, DataError
from learnae.samples.columns import USUAL_COLUMNS
from learnae.simulation.attacks import HONEST, LIES
from learnae.swarm.directory import find_swarm, read_manifest
from learnae.swarm.manifest import CLASSIFICATION, REGRESSION, Manifest
from learnae.swarm.presets import MOTION, preset
from learnae.weights.merge import RULES

if TYPE_CHECKING:
    from learnae.models.dataset import Dataset
    from learnae.simulation.attacked import Outcome, Plan

_ALL = "all"
_MOST_PEERS, _MOST_MINUTES = 64, 60.0
_LEAST_HONEST = 2
_DEMO = "wrist"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what an attacked swarm is told by."""
    kinds = "; ".join(f"{name}: {lie.about}" for name, lie in LIES.items())
    parser.add_argument("--attack", metavar="KIND", help=f"{kinds}; {_ALL}: one after the other")
    parser.add_argument("--adaptive", action="store_true", help="lie only as much as judges let through")
    parser.add_argument("--liars", type=count, default=1, metavar="N", help="of the peers (default: 1)")
    parser.add_argument("--peers", type=count, default=8, metavar="M", help=f"at most {_MOST_PEERS} (default: 8)")
    parser.add_argument("--rule", choices=RULES, help="of merging (default: the swarm's own)")
    parser.add_argument("--minutes", type=_minutes, default=2.0, metavar="T", help="of virtual time (default: 2)")
    parser.add_argument("--seed", type=count, default=0, metavar="S", help="who lies, and all chance (default: 0)")
    which = f"its id, name, directory or a copy of its manifest.cbor (default: the preset {_DEMO})"
    parser.add_argument("--swarm", metavar="SWARM", help=which)
    parser.add_argument("--data", type=place, metavar="F", help="rows that are shared out (default: the demo's people)")
    parser.add_argument("--label", metavar="C", help="the column of a table that holds the labels (default: label)")


def run(options: argparse.Namespace) -> int:
    """Run the swarm without the liars, then with each kind of them, and print what honest peers reach."""
    manifest = _manifest(options)
    kinds = _kinds(options, manifest)
    if options.peers > _MOST_PEERS or options.liars > options.peers - _LEAST_HONEST:
        raise ConfigurationError(
            f"--liars {options.liars} --peers {options.peers}",
            f"at most {_MOST_PEERS} peers, and at least {_LEAST_HONEST} of them honest",
        )

    from learnae.simulation import attacked  # noqa: PLC0415 - a whole peer, which other commands have no use for

    people = _people(manifest, options)
    plan = attacked.Plan(HONEST, options.peers, options.liars, options.minutes, options.seed, options.adaptive)
    with _progress(options.json) as say:
        absent = attacked.run(manifest, people, plan, absent=True, say=partial(say, "without the liars"))
        found = {
            kind: attacked.run(manifest, people, replace(plan, kind=kind), say=partial(say, kind)) for kind in kinds
        }
    if options.json:
        print_json(_fields(manifest, plan, absent, found))
    else:
        _tell(manifest, plan, absent, found)
    return 0


def _kinds(options: argparse.Namespace, manifest: Manifest) -> list[str]:
    """Return the kinds that are asked for; raises ConfigurationError."""
    choices = [
        name
        for name, lie in LIES.items()
        if (manifest.class_count or not lie.needs_classes) and (lie.is_adaptable or not options.adaptive)
    ]
    if options.adaptive and not manifest.class_count:
        raise ConfigurationError(
            f"--adaptive where the swarm {manifest.name} learns values", "leave it out: such liars judge classes"
        )
    if options.attack == _ALL:
        return [kind for kind in choices if kind != HONEST]
    if options.attack not in choices:
        what = "no --attack" if options.attack is None else f"--attack {options.attack}"
        what += " --adaptive" if options.adaptive else ""
        raise ConfigurationError(what, f"choose from {', '.join(choices)}, {_ALL}")
    return [options.attack]


def _minutes(text: str) -> float:
    try:
        if 0 < (value := float(text)) <= _MOST_MINUTES:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0, to {_MOST_MINUTES:g}")


def _manifest(options: argparse.Namespace) -> Manifest:
    """Return the manifest of the swarm, open and with the rule that is asked for; raises ManifestError."""
    if options.swarm is None:
        manifest = preset(_DEMO, 0)
    elif Path(options.swarm).is_file():
        manifest = read_manifest(Path(options.swarm))
    else:
        manifest = find_swarm(options.swarm).manifest
    manifest.check_known()
    if manifest.only_keras or (manifest.task == CLASSIFICATION and not manifest.class_count):
        raise ConfigurationError(
            f"the swarm {manifest.name} cannot be attacked here: only Keras knows its model, or a row has many classes",
            f"leave --swarm out, for the preset {_DEMO}",
        )
    rule = options.rule or manifest.merge.rule
    return replace(manifest, membership=None, start=(), merge=replace(manifest.merge, rule=rule))


def _people(manifest: Manifest, options: argparse.Namespace) -> list[Dataset]:
    """Return the rows of each peer; raises DataError where there are too few."""
    from learnae.audit.own_rows import rows_of  # noqa: PLC0415 - as above
    from learnae.simulation.attacked import demo_people, people_of  # noqa: PLC0415 - as above

    if options.data is not None:
        own = rows_of(manifest, options.data, options.label or USUAL_COLUMNS.label)
        people = people_of(manifest, own.rows, own.targets, options.peers)
    elif manifest.features is not None and manifest.features.channels == MOTION and manifest.task != REGRESSION:
        people = demo_people(manifest, options.peers)
    else:
        raise ConfigurationError(f"the demo's rows do not fit the swarm {manifest.name}", "give --data FILE")
    if fewest := min(min(len(data.train), len(data.holdout)) for data in people):
        return people
    raise DataError(
        f"a peer would have {fewest} rows to train on, or to be measured by", "take fewer --peers, or more rows"
    )


@contextmanager
def _progress(silent: bool) -> Iterator[Callable[[str, float], None]]:
    if silent:
        yield lambda *_: None
        return
    with console.status("…") as status:
        yield lambda what, done: status.update(f"{what} … {done:.0%}")


def _behind(absent: Outcome, outcome: Outcome) -> tuple[float, float]:
    """Return by how many points the worst honest peer is behind that of the swarm without liars, and the mean."""
    worst = absent.scores.min() - outcome.scores.min()
    return 100 * float(worst), 100 * float(absent.scores.mean() - outcome.scores.mean())


def _tell(manifest: Manifest, plan: Plan, absent: Outcome, found: dict[str, Outcome]) -> None:
    title = (
        f"{plan.liars} of {plan.peers} lie{' as judges let them' if plan.adaptive else ''}, {plan.minutes:g} min, "
        f"rule {manifest.merge.rule}, seed {plan.seed}: {'accuracy' if manifest.class_count else 'R²'} of each honest "
        "peer, and points behind (worst, mean)"
    )
    columns = ["kind", ">behind", ">mean", "honest peers", "liars muted", "banned", "honest muted", ">MB in", ""]
    rows = [["liars absent", "", "", _percents(absent), "", "", f"{absent.honest_muted:.0%}", _megabytes(absent), ""]]
    for kind, outcome in found.items():
        worst, mean = _behind(absent, outcome)
        rows.append(
            [
                kind, f"{worst:.1f}", f"{mean:.1f}", _percents(outcome), f"{outcome.liars_muted:.0%}",
                f"{outcome.banned:.0%}", f"{outcome.honest_muted:.0%}, {outcome.longest_muted:.0f} s",
                _megabytes(outcome), _success(kind, outcome),
            ]
        )  # fmt: skip
    console.print(table(title, columns, rows, wrap=True))


def _percents(outcome: Outcome) -> str:
    return " ".join(f"{100 * value:.0f}" for value in outcome.scores)


def _megabytes(outcome: Outcome) -> str:
    return f"{outcome.bytes_in / 1e6:.1f}"


def _success(kind: str, outcome: Outcome) -> str:
    if outcome.success is None:
        return ""
    return f"the trigger works {outcome.success:.0%}" if kind == "backdoor" else f"its recall {outcome.success:.0%}"


def _fields(manifest: Manifest, plan: Plan, absent: Outcome, found: dict[str, Outcome]) -> dict[str, Any]:
    attacks = []
    for kind, outcome in found.items():
        worst, mean = _behind(absent, outcome)
        attacks.append(
            {"kind": kind, **_outcome_fields(outcome), "points_behind_worst": worst, "points_behind_mean": mean}
        )
    return {
        "swarm": manifest.name,
        "rule": manifest.merge.rule,
        "peers": plan.peers,
        "liars": plan.liars,
        "adaptive": plan.adaptive,
        "minutes": plan.minutes,
        "seed": plan.seed,
        "score": "accuracy" if manifest.class_count else "r2",
        "absent": _outcome_fields(absent),
        "attacks": attacks,
    }


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    return {
        "scores": outcome.scores.tolist(),
        "liars_muted": outcome.liars_muted,
        "liars_banned": outcome.banned,
        "honest_muted": outcome.honest_muted,
        "longest_honest_muted_seconds": outcome.longest_muted,
        "success": outcome.success,
        "bytes_in": outcome.bytes_in,
    }
