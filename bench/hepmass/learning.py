"""What swarms reach on the rows, beside all rows in one place with the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from rich.table import Table as Shown

from bench.harness import AT_MOST, Race, in_processes, wide_console
from bench.hepmass.collisions import MASSES
from bench.hepmass.sources import Rows, source_of
from bench.hepmass.swarms import LASTS, ONE_MASS, Plan, Reached, reach
from learnae.weights.merge import JUDGED, MEAN

TRAIN_ROWS, TEST_ROWS = 500_000, 400_000
_STEPS_QUICK, _UPDATES_QUICK, _MOST_PEERS_QUICK = 60, 6, 8
_LOOKS = 12
_LEFT_OUT = 1000  # GeV
_POOLED, _POOLED_BLIND = Plan(1), Plan(1, has_mass=False)
_MANY = Plan(64, steps=3000, updates=30, batch=64)  # of steps as short as their few rows ask for
_PRESET = 0.05  # the rate of the preset
_ONE = Plan(5, ONE_MASS, updates=400, rule=MEAN)  # the mass tells a peer of one what is signal
_ONE_BLIND = replace(_ONE, has_mass=False)
_IID, _WITH_MASS, _BLIND = 0.001, 0.005, 0.010  # AUC that swarms may be behind
_MORE_DOWN = 0.003  # where links are down half of the time


@dataclass(frozen=True, slots=True)
class Bar:
    """A swarm, what it is held against, and how much AUC the worst of its peers may be behind; 0 for no bar."""

    plan: Plan
    against: Plan
    most: float = 0.0


def _twice(plan: Plan) -> Plan:
    """Return ``plan`` with links that are down half of the time, and twice the updates, as long ones."""
    return replace(plan, steps=2 * plan.steps, updates=2 * plan.updates, down=0.5)


def _bars_down(*, lasts: int = LASTS, between: bool = False) -> tuple[Bar, ...]:
    """Return the bars of peers of one mass, with links that are down in another way."""
    one, blind = (replace(_twice(plan), lasts=lasts, between=between) for plan in (_ONE, _ONE_BLIND))
    return (
        Bar(one, _POOLED, _WITH_MASS + _MORE_DOWN),
        Bar(replace(one, seed=2), replace(_POOLED, seed=2), _WITH_MASS + _MORE_DOWN),
        Bar(blind, _POOLED_BLIND, _BLIND + _MORE_DOWN),
    )


BARS = {
    "iid": (
        Bar(Plan(8), _POOLED, _IID),
        Bar(Plan(8, has_mass=False), _POOLED_BLIND, _IID),
        Bar(Plan(8, rate=_PRESET, falls=False), Plan(1, rate=_PRESET, falls=False)),
        Bar(_MANY, replace(_POOLED, steps=_MANY.steps), 0.002),
        Bar(replace(_MANY, has_mass=False), replace(_POOLED_BLIND, steps=_MANY.steps), 0.002),
    ),
    "masses": (
        Bar(_ONE, _POOLED, _WITH_MASS),
        Bar(_ONE_BLIND, _POOLED_BLIND, _BLIND),
        Bar(replace(_ONE, updates=200), _POOLED),
        Bar(replace(_ONE, seed=2), replace(_POOLED, seed=2), _WITH_MASS),
        Bar(replace(_ONE, rule=JUDGED), _POOLED, _WITH_MASS),
        Bar(replace(_ONE, rule=JUDGED, seed=2), replace(_POOLED, seed=2), _WITH_MASS),
        Bar(replace(_ONE, peers=4, left_out=_LEFT_OUT), Plan(1, left_out=_LEFT_OUT)),
    ),
    "links": (
        Bar(Plan(8, updates=200, down=0.5), _POOLED, _IID + _MORE_DOWN),
        Bar(Plan(8, has_mass=False, updates=200, down=0.5), _POOLED_BLIND, _IID + _MORE_DOWN),
        Bar(Plan(8, updates=200, down=0.75), _POOLED),
        Bar(_twice(_ONE), _POOLED, _WITH_MASS + _MORE_DOWN),
        Bar(replace(_twice(_ONE), seed=2), replace(_POOLED, seed=2), _WITH_MASS + _MORE_DOWN),  # much hangs on chance
        Bar(_twice(_ONE_BLIND), _POOLED_BLIND, _BLIND + _MORE_DOWN),
        Bar(replace(_twice(_ONE_BLIND), seed=2), replace(_POOLED_BLIND, seed=2), _BLIND + _MORE_DOWN),
        Bar(replace(_ONE, updates=2 * _ONE.updates, down=0.5), _POOLED),
        *_bars_down(lasts=1),  # as what is demanded was measured: half of the peers are left out of each merge
        *_bars_down(between=True),
    ),
}


def run(race: Race, part: str) -> None:
    """Run the swarms of a part; print a table, draw a picture of links that are down, and hold all to their bars."""
    source = source_of(race, TRAIN_ROWS, TEST_ROWS)
    source.make(race)
    bars = [_sized(race, bar) for bar in BARS[part] if not race.quick or bar.plan.peers <= _MOST_PEERS_QUICK]
    plans = dict.fromkeys(plan for bar in bars for plan in (bar.against, bar.plan))
    found = in_processes(
        race, f"networks and swarms on {source.name}", reach, [(plan, source, _LOOKS) for plan in plans]
    )
    reached = {plan: each for (plan, _, _), each in found.items()}
    _show(source, reached)
    for plan, each in reached.items():
        _report(race, f"{source.name}: {plan.name}", plan, each)
    for bar in bars:
        if bar.most:
            behind = reached[bar.against].worst - reached[bar.plan].worst
            name = f"{source.name}: {bar.plan.name}: worst estimate behind pooled"
            race.check(name, behind, bar.most, AT_MOST, "AUC", f"{bar.plan.steps:,} steps, {bar.plan.updates} updates")
    if part == "links":
        from bench.hepmass.picture import draw  # noqa: PLC0415 - matplotlib, for which other parts have no use

        title = source.name.replace(" ", "-")
        shown = {plan: each for plan, each in reached.items() if plan.lasts == LASTS and not plan.between}
        draw(source.name, shown, Path("build/bench") / f"{title}-links.png")


def _sized(race: Race, bar: Bar) -> Bar:
    if not race.quick:
        return bar
    plan, against = (replace(each, steps=_STEPS_QUICK, updates=_UPDATES_QUICK) for each in (bar.plan, bar.against))
    return replace(bar, plan=plan, against=against)


def _show(source: Rows, reached: Mapping[Plan, Reached]) -> None:
    masses = [f"{mass}" for mass in MASSES]
    shown = Shown(
        "swarm",
        "AUC: worst",
        "mean",
        "accuracy",
        *masses,
        "steps",
        "alarms",
        title=f"{source.name}: what estimates reach",
    )
    for plan, each in reached.items():
        scores = each.scores
        by_mass = [f"{mean(score.by_mass[index] for score in scores):.3f}" for index in range(len(MASSES))]
        accuracy = mean(score.accuracy for score in scores)
        cells = (f"{each.worst:.4f}", f"{mean(score.auc for score in scores):.4f}", f"{accuracy:.4f}", *by_mass)
        shown.add_row(plan.name, *cells, f"{mean(each.steps):,.0f}", f"{each.alarms}")
    wide_console().print(shown)


def _report(race: Race, name: str, plan: Plan, each: Reached) -> None:
    race.figure(f"{name}: AUC, worst", each.worst)
    if plan.peers > 1:
        race.figure(f"{name}: AUC, mean", mean(score.auc for score in each.scores))
        race.figure(f"{name}: false alarms of traps", each.alarms)
    race.figure(f"{name}: accuracy, mean", mean(score.accuracy for score in each.scores))
    for index, mass in enumerate(MASSES if plan.peers == 1 else ()):
        race.figure(f"{name}: AUC of {mass} GeV", each.scores[0].by_mass[index])
