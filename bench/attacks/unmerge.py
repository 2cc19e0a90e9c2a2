"""Seven people and one who comes later and lies: what un-merging brings back, beside a ban alone, in whole swarms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.harness import AT_MOST, Race, in_processes
from bench.swarms import SECOND, load_people, split_over
from learnae.adapters.local.bans import Ban, Bans
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.peer.learning.versions import VersionPolicy
from learnae.peer.peer import Peer
from learnae.runtime.unmerging import Unmerging
from learnae.runtime.version_store import VersionKeeper
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.presets import preset
from learnae.weights.codecs import Vector

HONEST = 7
BEFORE, LYING, AFTER = 100, 30, 90  # seconds: in which a version is kept, in which the eighth lies, and after the ban
_KEPT = 30  # seconds from one version to the next
_MOST_LOST = 1.0  # points behind the swarm in which the liar never was
ABSENT, BANNED, UNMERGED = "absent", "banned", "un-merged"
_FACTORS = {"sign-flip": -1.0, "scaled": 10.0, "zeros": 0.0}


def run(race: Race) -> None:
    """Compare the worst honest peer with the one of the same swarm without the liar."""
    kinds = ["sign-flip"] if race.quick else list(_FACTORS)
    shares = 10 if race.quick else 1  # of the seconds
    tasks = [(ABSENT, "", shares), *((end, kind, shares) for kind in kinds for end in (BANNED, UNMERGED))]
    found = in_processes(race, "swarms of eight, one of whom is found out", measure, tasks)
    absent = 100 * found[ABSENT, "", shares][1]
    race.figure("worst of seven, the liar never there", absent, "%")
    for kind in kinds:
        race.figure(f"behind it when the ban comes, {kind}", absent - 100 * found[UNMERGED, kind, shares][0], "points")
        behind = [absent - 100 * found[end, kind, shares][1] for end in (BANNED, UNMERGED)]
        race.figure(f"behind it {AFTER} s after a ban alone, {kind}", behind[0], "points")
        race.check(f"behind it {AFTER} s after un-merging, {kind}", behind[1], _MOST_LOST, AT_MOST, "points")


def measure(end: str, kind: str, share: int) -> tuple[float, float]:
    """Return the worst honest peer's accuracy, of 1, before the ban and after it."""
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    held = [person.holdout for person in people]
    rows, classes = (np.concatenate([getattr(each, name) for each in held]) for name in ("features", "classes"))
    simulation = Simulation(manifest, split_over(people, HONEST + 1, manifest), Setting(seed=5))
    simulation.crash(HONEST)
    peers = [member.peer for member in simulation.members[:HONEST]]
    with TemporaryDirectory() as directory:
        keepers = [_keeper(Path(directory) / str(index), peer, simulation) for index, peer in enumerate(peers)]
        bans = Bans(Path(directory))
        unmerging = [Unmerging(peer, bans, keeper) for peer, keeper in zip(peers, keepers, strict=True)]

        def let(seconds: int) -> float:
            for _ in range(seconds // share):
                simulation.run(SECOND)
                for one, keeper in zip(unmerging, keepers, strict=True):
                    one.act()
                    keeper.offer()
            return _worst(manifest.definition, [peer.estimate() for peer in peers], rows, classes)

        let(BEFORE)
        if end != ABSENT:
            simulation.restart(HONEST)
            _lie(simulation.members[HONEST].peer, _FACTORS[kind])
        before = let(LYING)
        if end != ABSENT:
            liar = simulation.members[HONEST].identity.author
            bans.put(liar, Ban(simulation.clock.time, "it lies", unmerge=end == UNMERGED))
        return before, let(AFTER)


def _keeper(directory: Path, peer: Peer, simulation: Simulation) -> VersionKeeper:
    directory.mkdir()
    policy = VersionPolicy(spacing=_KEPT * SECOND)
    return VersionKeeper(directory, peer, policy, lambda: simulation.clock.uptime() / SECOND)


def _lie(peer: Peer, factor: float) -> None:
    """Let a peer publish ``factor`` times its weights."""
    frames = peer.frames
    encode = frames.encode
    frames.encode = lambda weights, *rest: encode(np.float32(factor) * weights, *rest)  # type: ignore[method-assign]


def _worst(model: ModelDefinition, estimates: Sequence[Vector], rows: np.ndarray, classes: np.ndarray) -> float:
    return min(float(np.mean(predict(model, estimate, rows).argmax(axis=1) == classes)) for estimate in estimates)
