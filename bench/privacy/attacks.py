"""What attacks get out of updates: bare, and with what protects a peer by default."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean, median

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race
from bench.rigs.attacked import dataset_of, person, raw_windows, updates
from learnae.audit.imprint import imprint
from learnae.audit.membership import LOOKED_AT, membership
from learnae.audit.own_rows import OwnRows, rows_like
from learnae.audit.reconstruction import changes, errors, only_row, quotients
from learnae.config.privacy_section import PrivacySection
from learnae.errors import ConfigurationError
from learnae.models.traps.trap_check import TrapCheck
from learnae.runtime.private.consent import check_consent
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy

_PEOPLE, _SEEDS = range(1, 9), range(5)
_FLOOR, _DRAWS = PrivacySection().rows, PrivacySection().draws
_MOST_AUC = 0.60
_MOST_MS = 5.0  # of a look for traps
_TRAPS = {  # hidden units, steps, batch, rate, how many updates
    "B: trap weights, 1 step of 32": (512, 1, 32, 1e-3, 20),
    "C: trap weights, 26 steps of 32": (512, 26, 32, 1e-5, 10),
}


def run(race: Race) -> None:
    """Try the attacks on the demo's people."""
    few = race.quick
    with race.step("one row"):
        _one_row(race)
    with race.step("hostile manifests"):
        _hostile(race, few)
    with race.step("who is a member") as say:
        _members(race, few, say)
    with race.step("looks for traps"):
        _looks(race)


def _one_row(race: Race) -> None:
    wrist, found = preset("wrist", 1), []
    for number in _PEOPLE:
        own = person(number, wrist).part(np.array([number]))
        row = only_row(changes(wrist.definition, updates(wrist, own, 1))[0])
        found.append(np.inf if row is None else float(errors(row[None], own.rows)[0]))
    race.figure("wrist: one row out of its first update, without a floor", median(found), "relative error")


def _hostile(race: Race, few: bool) -> None:
    one_by_one = raw_windows(16, 1, 1, 1e-3)
    own = person(1, one_by_one)
    seen = updates(one_by_one, own, 150 if few else 1500)
    _count(race, "A: one window a step", one_by_one, own, seen)
    found = [_is_refused(one_by_one)]
    for name, (hidden, steps, batch, rate, often) in _TRAPS.items():
        manifest = raw_windows(hidden, steps, batch, rate)
        trap = imprint(manifest.definition, rows_like(manifest, own), np.random.default_rng(1))
        bare = updates(manifest, own, often // 4 if few else often, trap)
        _count(race, f"{name}, in start", manifest, own, bare)
        later = updates(manifest, own, 4, received=lambda number, trap=trap: trap if number == 2 else None)  # type: ignore[misc]
        _count(race, f"{name}, sent by a member", manifest, own, [trap, *later[3:]])
        found.append(_is_refused(manifest))
        rounded = replace(manifest, codec=FramePolicy("q8", "q8"))  # its owner has accepted raw windows
        check = TrapCheck(manifest.definition, manifest.objective, dataset_of(manifest, own).train, _DRAWS)
        start = manifest.definition.initial(0)
        taken = 0 if check(trap, start, start) else _near(rounded, own, updates(rounded, own, often, trap))[2]
        race.check(f"{name}: windows rebuilt within 20 %, by default", taken, 0, AT_MOST)
    race.check("hostile manifests that are refused without consent", sum(found), len(found), AT_LEAST)


def _members(race: Race, few: bool, say: Callable[[str], None]) -> None:
    wrist = preset("wrist", 1)
    for rows in (1, 29, _FLOOR):
        found: dict[bool, list[float]] = {False: [], True: []}
        for seed in _SEEDS[:1] if few else _SEEDS:
            for number in _PEOPLE:
                everything = person(number, wrist)
                order = np.random.default_rng(seed).permutation(len(everything.rows))
                own, others = everything.part(order[:rows]), everything.part(order[rows:])
                for clips, into in found.items():
                    seen = updates(wrist, own, LOOKED_AT, seed=seed, clips=clips)
                    into.append(membership(wrist.definition, seen, own.rows, others.rows))
                say(f"{rows} rows, seed {seed}, person {number}")
        race.figure(f"{rows} rows: own told from others of the same person, bare", mean(found[False]), "AUC")
        race.figure(f"{rows} rows: own told from others of the same person, clipped", mean(found[True]), "AUC")
    name, note = f"{rows} rows, the default floor: own told from others", f"mean of {len(found[True])}"
    race.check(name, mean(found[True]), _MOST_AUC, AT_MOST, "AUC", note)


def _looks(race: Race) -> None:
    for name in ("wrist", "wrist-cnn"):
        manifest = preset(name, 1)
        check = TrapCheck(manifest.definition, manifest.objective, dataset_of(manifest, person(1, manifest)).train)
        start = manifest.definition.initial(0)
        spans = []
        for _ in range(20):
            begun = time.process_time()
            check(start, start, start)
            spans.append(1000 * (time.process_time() - begun))
        if name == "wrist":
            race.check(f"{name}: a look for traps", median(spans), _MOST_MS, AT_MOST, "CPU ms")
        else:
            race.figure(f"{name}: a look for traps", median(spans), "CPU ms")


def _is_refused(manifest: Manifest) -> bool:
    try:
        check_consent(manifest, PrivacySection())
    except ConfigurationError:
        return True
    return False


def _count(race: Race, name: str, manifest: Manifest, own: OwnRows, seen: Sequence[Vector]) -> None:
    for percent, count in zip((1, 5, 20), _near(manifest, own, seen), strict=True):
        race.figure(f"{name}, bare: of {len(own.rows)} windows within {percent} %", count)


def _near(manifest: Manifest, own: OwnRows, seen: Sequence[Vector]) -> list[int]:
    found = errors(quotients(changes(manifest.definition, seen)), own.rows)
    return [int(np.sum(found < bound)) for bound in (0.01, 0.05, 0.2)]
