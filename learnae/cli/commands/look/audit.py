"""``learnae audit``: what a swarm's author and its members could compute of this machine's rows, by trying it."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from learnae.audit.exposures import exposures
from learnae.audit.membership import LOOKED_AT, membership
from learnae.audit.own_rows import DEMO, DRAWN, OwnRows, rows_like, rows_of
from learnae.audit.picture import draw
from learnae.audit.trial import AUC, Guarding, Trial, Tried
from learnae.cli.output import Cell, console, print_json, print_list, table
from learnae.config.loading import find_section
from learnae.config.privacy_section import SCORE, PrivacySection
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.learning.training import PRIVATE_STEPS
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.privacy.spent import PrivacySpent
from learnae.protocol.identity import author_of_name
from learnae.runtime.homes import swarm_of
from learnae.runtime.observer import Observer
from learnae.runtime.private.learner import Private, as_agreed
from learnae.runtime.private.policy import training_privacy
from learnae.swarm.directory import Swarm, find_swarm, read_manifest
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import write_atomic
from learnae.system.paths import last_status, peers_here
from learnae.text import decimal
from learnae.weights.codecs import Vector

_PICTURE = ".svg"
_LOOK_SECONDS = 0.25


def audit(options: argparse.Namespace) -> int:
    """Try attacks on the user's rows, or the demo's, and say what came of them."""
    if options.picture and options.picture.suffix != _PICTURE:
        raise ConfigurationError(f"--picture {options.picture}", f"its name must end with {_PICTURE}")
    swarm = None if os.path.isfile(options.swarm) else find_swarm(options.swarm)
    manifest = swarm.manifest if swarm else read_manifest(Path(options.swarm))
    section = find_section(PrivacySection, "privacy")
    own = rows_of(manifest, options.data, options.label or "label")
    spents: list[Private] = []
    with tempfile.TemporaryDirectory() as directory, _progress(options.json) as say:
        guarding = _guarding(manifest, section, Path(directory), spents)
        tried = Trial(manifest, own, rows_like(manifest, own), guarding, options.seconds).run(say)
        if swarm is not None:
            tried += _published(swarm, own, options.watch, say)
        spent = max(filter(None, (each.spent() for each in spents)), key=lambda each: each.epsilon, default=None)
    if options.picture:
        write_atomic(options.picture, draw(f"audit of {manifest.name}, on rows {own.origin}", tried).encode())
    if options.json:
        print_json(
            {
                "swarm": str(manifest.swarm),
                "name": manifest.name,
                "rows": len(own.rows),
                "origin": own.origin,
                "exposures": exposures(manifest, training_privacy(manifest, section)),
                "attacks": [asdict(each) for each in tried],
                "privacy": spent.to_fields() if spent else None,
            }
        )
        return 0
    _tell(manifest, section, own, tried, spent)
    return 0


def _guarding(manifest: Manifest, section: PrivacySection, directory: Path, made: list[Private]) -> Guarding:
    """Return what protects a peer of this machine; learners that it makes are added to ``made``."""

    def learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        clip = NormClip(is_on=section.clip)
        inner = NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, clip
        )
        place = directory / str(len(made))
        place.mkdir()
        made.append(as_agreed(inner, data, manifest, section, place))
        return made[-1].learner

    shows_scores = section.inference == SCORE
    if training_privacy(manifest, section) is None:
        return Guarding(learner, section.rows, section.draws, 0, looks_for_traps=True, shows_scores=shows_scores)
    steps = manifest.training.steps if manifest.privacy.training else PRIVATE_STEPS
    return Guarding(learner, 0, 0, steps, looks_for_traps=False, shows_scores=shows_scores)  # noise stands for both


def _published(swarm: Swarm, own: OwnRows, seconds: float, say: Callable[[str], None]) -> list[Tried]:
    """Attack what the peers of this machine have published in the swarm, with rows that they did not train on."""
    here = [path for path in peers_here() if swarm_of(path) == swarm.manifest.swarm]
    if not here:
        return []
    observer = Observer(swarm.directory)
    observer.refresh()
    found = []
    for path in here:
        name = f"what {path.name} has published"
        say(name)
        author = author_of_name(str(last_status(path).get("peer", "")))
        replicas = _watched(observer, author, seconds)
        if own.origin in (DEMO, DRAWN) or not len(own.held_out):
            found.append(Tried(name, AUC, None, None, "give --data: the recording that it learns from"))
        elif len(replicas) < 2:
            found.append(Tried(name, AUC, None, None, "one update or none is here: let it run, and give --watch"))
        else:
            auc = membership(swarm.manifest.definition, replicas[: LOOKED_AT + 1], own.rows, own.held_out)
            found.append(Tried(name, AUC, None, auc, f"{len(replicas)} updates, its rows against those held out"))
    observer.close()
    return found


def _watched(observer: Observer, author: bytes, seconds: float) -> list[Vector]:
    """Return what an author's followers had after its last updates, and after those of the next ``seconds``."""
    found, deadline = observer.replicas_of(author), time.monotonic() + seconds
    while len(found) <= LOOKED_AT and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        observer.refresh()
        newest = observer.replicas_of(author)
        if newest and not (found and np.array_equal(found[-1], newest[-1])):
            found.append(newest[-1])
    return found


def _tell(
    manifest: Manifest, section: PrivacySection, own: OwnRows, tried: list[Tried], spent: PrivacySpent | None
) -> None:
    print_list(exposures(manifest, training_privacy(manifest, section)))
    where = {DEMO: "of the demo's first person", DRAWN: "drawn at random"}.get(own.origin, f"of {own.origin}")
    rows: list[list[Cell]] = [
        [each.attack, each.kind, _said(each.bare), _said(each.guarded), each.why] for each in tried
    ]
    title = f"{manifest.name}: attacks on {len(own.rows)} rows {where}; nothing of them has left this machine"
    console.print(table(title, ["attack", "measure", ">unprotected", ">here", "note"], rows, wrap=True))
    print(
        "auc: 0.5 is a guess, 1 certainty; rows rebuilt: the share within 20 %; relative error: 0 is the row itself; "
        "-: nothing to work on"
    )
    if spent:
        print(f"differential privacy: epsilon {spent.epsilon:.3g} at delta {spent.delta:g} for one {spent.protects}")
    else:
        print(f"no differential privacy (privacy.epsilon): at least {section.rows} rows and clipping stand for it")


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}" if 0 < value < 0.001 else decimal(value)


@contextmanager
def _progress(is_quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being tried."""
    if is_quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda what: status.update(f"{what} …")
