"""Contribution profiles: whether those who help rank above those who do not, and what a liar and free keys reach.

Eight people of the demo, in whole simulated swarms: one has mislabelled rows, one has few, one lies about the others.
The truth is what leaving each of them out costs: loss, as a gain is of it, on everybody's held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes
from learnae.errors import LearnaeError
from learnae.ipld.cid import DAG_CBOR
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_model import predict
from learnae.peer.contributions.book import ContributionBook
from learnae.peer.contributions.rating import Rating
from learnae.peer.learning.jury import CappedLoss
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Contributions, Join, Profile
from learnae.protocol.identity import Identity
from learnae.protocol.limits import HOUR
from learnae.protocol.messages import compose, open_message
from learnae.simulation.attacked import demo_people
from learnae.simulation.attacks import flipped
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

_PEERS, _SEEDS = 8, 6  # half of the seeds must tell about the same as the other half: two are chance
_WRONG, _FEW, _LIAR, _VICTIM, _VIEWER = 0, 1, 2, 3, 4
_ROWS = 30  # of the one who has few
_SECONDS, _QUICK_SECONDS = 50, 40
_LOOKS = 4  # at loss and accuracy, in the last quarter
_SYBILS = 50
_DAY_BYTES = 10_000  # that a peer may say of others in a day
_LEAST_CORRELATION = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """What one swarm came to: loss and accuracy, usefulness by person as one honest peer sees it, bytes of statements.

    ``honest`` is what it would see without the liar's voice, ``lowest`` the lowest voice but the liar's of the victim.
    """

    loss: float
    accuracy: float
    usefulness: tuple[float, ...] = ()
    honest: tuple[float, ...] = ()
    lowest: float = 0.0
    with_sybils: tuple[float, ...] = ()
    sybils_heard: int = 0
    bytes_each: float = 0.0
    statements: float = 0.0


def run(race: Race) -> None:
    """Rank people by what others say, and by what their absence costs; then let one lie, and fifty keys with it."""
    seconds, seeds = (_QUICK_SECONDS, 1) if race.quick else (_SECONDS, _SEEDS)
    absent = (-1, _WRONG) if race.quick else (-1, *range(_PEERS))
    tasks = [(seed, seconds, each) for seed in range(seeds) for each in absent]
    found = in_processes(race, "swarms of eight, each of them left out once", measure, tasks)
    whole = [found[seed, seconds, -1] for seed in range(seeds)]
    said = np.median([each.usefulness for each in whole], axis=0)
    useful = [number for number in range(_PEERS) if number not in (_WRONG, _FEW)]
    race.figure("accuracy of all", 100 * float(np.mean([each.accuracy for each in whole])), "%")
    for number in range(_PEERS):
        race.figure(f"usefulness of {_name(number)}", float(said[number]))
    if not race.quick:
        _report_truth(
            race, whole, said, [[found[seed, seconds, n].loss for n in range(_PEERS)] for seed in range(seeds)]
        )
    above = [float(np.mean([each.usefulness[n] > each.usefulness[_FEW] for n in useful])) for each in whole]
    race.check("share of the useful above the one with few rows", float(np.mean(above)), 0.8, AT_LEAST)
    race.check("usefulness of mislabelled rows, at most", max(each.usefulness[_WRONG] for each in whole), 0.0, AT_MOST)
    _report_lies(race, whole)


def _report_truth(race: Race, whole: list[Found], said: np.ndarray, without: list[list[float]]) -> None:
    """Compare what is ``said`` with what absence costs; ``without`` are losses by seed, and by who is left out."""
    costs = np.array(without) - np.array([[each.loss] for each in whole])
    truth = costs.mean(axis=0)
    for number in range(_PEERS):
        race.figure(f"what leaving {_name(number)} out costs", 1000 * truth[number], "mnat")
    race.check("rank correlation with the truth", correlation(said, truth), _LEAST_CORRELATION, AT_LEAST)
    one = [correlation(np.array(each.usefulness), truth) for each in whole]
    race.figure("rank correlation of one swarm, the least", min(one))
    half = len(costs) // 2
    race.figure(
        "of one half's truth with the other's", correlation(costs[:half].mean(axis=0), costs[half:].mean(axis=0))
    )


def _report_lies(race: Race, whole: list[Found]) -> None:
    raised = max(each.usefulness[_LIAR] - each.honest[_LIAR] for each in whole)
    race.check("a liar raises itself by", raised, 0.0, AT_MOST)
    lowered = [each.honest[_VICTIM] - each.usefulness[_VICTIM] for each in whole]
    race.figure("a liar, one of seven raters, lowers another by", max(lowered))
    below = max(each.lowest - each.usefulness[_VICTIM] for each in whole)
    race.check("below the lowest honest voice", below, 0.0, AT_MOST)
    changed = max(abs(a - b) for each in whole for a, b in zip(each.usefulness, each.with_sybils, strict=True))
    race.check("what fifty free keys change", changed, 0.0, AT_MOST)
    race.check("free keys that were heard", min(each.sybils_heard for each in whole), _SYBILS // 2, AT_LEAST)
    race.figure("bytes of a statement of seven", float(np.mean([each.bytes_each for each in whole])), "B")
    race.figure("statements of a peer in the run", float(np.mean([each.statements for each in whole])))
    in_a_day, each = said_in_a_day(), float(np.mean([each.bytes_each for each in whole]))
    race.figure("statements of a peer in its first day", in_a_day)
    race.check("bytes of statements, a peer and day", in_a_day * each, _DAY_BYTES, AT_MOST, "B")


def correlation(said: np.ndarray, truth: object) -> float:
    """Return Spearman's rank correlation; ties are none here."""
    first, second = (np.argsort(np.argsort(np.asarray(values))) for values in (said, truth))
    return float(np.corrcoef(first, second)[0, 1])


def measure(seed: int, seconds: int, absent: int) -> Found:
    """Run one swarm without the person ``absent``; -1 for all, of whom one lies at the end, and then free keys do."""
    manifest, people = swarm_of(), people_of()
    members = [number for number in range(_PEERS) if number != absent]
    setting = Setting(seed=seed, follow=_PEERS - 1, listen=250, summaries=True)
    simulation = Simulation(manifest, [people[number] for number in members], setting, make=_Keeper)
    liar = simulation.members[_LIAR].peer.rating
    if absent < 0 and liar is not None:
        liar.due = lambda now: _lie(simulation, liar, now)  # type: ignore[method-assign]
    looks = []
    for look in range(4 * _LOOKS):
        simulation.run(1000 * seconds // (4 * _LOOKS))
        if look >= 3 * _LOOKS:
            judged = [m for m, number in zip(simulation.members, members, strict=True) if number not in (_WRONG, _FEW)]
            looks += [_look(manifest, member) for member in judged]
    loss, accuracy = (float(each) for each in np.mean(looks, axis=0))
    if absent >= 0:
        return Found(loss, accuracy)
    _hold_still(simulation)
    viewer = simulation.members[_VIEWER].peer
    assert viewer.rating is not None
    book = viewer.rating.book
    said = [data for _, data in _statements(simulation)]
    usefulness, liar_key = _scores(simulation, book), simulation.members[_LIAR].identity.author
    victim, raters = simulation.members[_VICTIM].identity.author[:PREFIX_BYTES], book.raters
    voices = [body.by_peer.get(victim) for rater, (_, body) in book.heard.items() if rater != liar_key]
    own = book.statement()
    voices.append(own.by_peer.get(victim) if own else None)
    book.admit([rater for rater in raters if rater != liar_key])
    honest = _scores(simulation, book)
    book.admit(raters)
    sybils = [_sybil(simulation, number) for number in range(_SYBILS)]
    simulation.settle(5_000)
    viewer._rate()
    return Found(
        loss,
        accuracy,
        usefulness,
        honest,
        min(voice for voice in voices if voice is not None) / 100,
        _scores(simulation, viewer.rating.book),
        sum(1 for sybil in sybils if viewer.tangle.newest_of(sybil)),
        float(np.mean([len(data) for data in said])),
        len(said) / _PEERS,
    )


def _hold_still(simulation: Simulation) -> None:
    """Let members measure and say nothing more, and let what is on its way come."""
    for member in simulation.members:
        if member.peer.rating is not None:
            member.peer.rating._next = float("inf")
            member.peer.rating.due = lambda now: None  # type: ignore[method-assign]  # noqa: ARG005
    simulation.run(5_000)


def swarm_of() -> Manifest:
    """Return the wrist preset with a horizon of three hours: all that is timed by it comes eight times as often."""
    manifest = preset("wrist", 1)
    return replace(manifest, limits=replace(manifest.limits, horizon=3 * HOUR))


class _Keeper(Member):
    """Keeps all that was ever said, so that it can be counted."""

    is_archive = True


@cache
def people_of() -> list[Dataset]:
    """Give the demo's people, one of them with labels that are wrong, one with few rows."""
    manifest = preset("wrist", 1)
    people = demo_people(manifest, _PEERS)
    rows, targets = people[_WRONG].train.rows, people[_WRONG].train.targets
    wrong = flipped(targets.reshape(len(targets)).astype(np.int64), manifest.class_count).reshape(targets.shape)
    people[_WRONG] = _with(manifest, rows, wrong, people[_WRONG])
    rows, targets = people[_FEW].train.rows, people[_FEW].train.targets
    places = np.linspace(0, len(rows) - 1, _ROWS).astype(int)
    people[_FEW] = _with(manifest, rows[places], targets[places], people[_FEW])
    return people


def _with(manifest: Manifest, rows: np.ndarray, targets: np.ndarray, like: Dataset) -> Dataset:
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows, targets)
    data.add(like.holdout.rows, like.holdout.targets, holdout=True)
    return data


def _look(manifest: Manifest, member: Member) -> tuple[float, float]:
    """Return loss, each row's capped as in a gain, and accuracy of a member's estimate on everybody's held-out rows."""
    people = people_of()
    rows = np.concatenate([data.holdout.rows for data in people]).reshape(-1, *manifest.definition.input_shape)
    classes = np.concatenate([data.holdout.targets for data in people]).reshape(len(rows)).astype(np.int64)
    weights = member.peer.estimate()
    loss = CappedLoss(manifest.definition, rows, classes, manifest.class_count)(weights)
    return loss, float((predict(manifest.definition, weights, rows).argmax(axis=1) == classes).mean())


def _lie(simulation: Simulation, rating: Rating, now: int) -> Contributions | None:
    """Say that the victim does harm, and that the liar and mislabelled rows are of the greatest use."""
    if Rating.due(rating, now) is None:
        return None
    lies = {_VICTIM: -1000, _LIAR: 1000, _WRONG: 1000}
    names = {simulation.members[number].identity.author[:PREFIX_BYTES]: lie for number, lie in lies.items()}
    return Contributions(tuple(sorted(names)), tuple(names[name] for name in sorted(names)))


def _scores(simulation: Simulation, book: ContributionBook) -> tuple[float, ...]:
    authors = [member.identity.author for member in simulation.members]
    found = book.scores(authors)
    return tuple(found[author].usefulness if author in found else float("nan") for author in authors)


def _statements(simulation: Simulation) -> Iterator[tuple[bytes, bytes]]:
    """Yield the author and the bytes of each statement that was ever published."""
    limits, swarm = simulation.manifest.limits, simulation.manifest.swarm
    blocks = {cid: data for member in simulation.members for cid, data in member.host.blocks.items()}
    for cid, data in blocks.items():
        with suppress(LearnaeError):  # the manifest is a block, too
            message = open_message(data, swarm, limits) if cid.codec == DAG_CBOR else None
            if message is not None and isinstance(message.body, Contributions):
                yield message.author, data


def _sybil(simulation: Simulation, number: int) -> bytes:
    """Let a new key of a machine that no other knows say its name, and then the liar's lies."""
    key, swarm, time = Identity.from_seed(bytes([number + 1]) * 32), simulation.manifest.swarm, simulation.clock.time
    liar = simulation.members[_LIAR].peer.rating
    assert liar is not None
    lies = {_VICTIM: -1000, _WRONG: 1000}
    names = {simulation.members[each].identity.author[:PREFIX_BYTES]: lie for each, lie in lies.items()}
    said = Contributions(tuple(sorted(names)), tuple(names[name] for name in sorted(names)))
    first = compose(key, swarm, 0, (), time, Join(Profile("x", "agent", "0")).to_fields(), (), checkpoint=True)
    second = compose(key, swarm, 1, (first.cid,), time + 100, said.to_fields(), (), checkpoint=False)
    simulation.members[0].host.blocks.update({first.cid: first.data, second.cid: second.data})
    entry = Entry(key.author[:PREFIX_BYTES], 1, second.cid, first.cid)
    for member in simulation.members:
        member.host.inbox.append(Heard(key.author.hex(), Announcement((entry,))))
    return key.author


def said_in_a_day() -> int:
    """Return how many statements a peer publishes in its first day, where something is measured all the time."""
    manifest = preset("wrist", 1)
    simulation = Simulation(manifest, people_of()[:1], Setting(summaries=True))
    rating = simulation.members[0].peer.rating
    assert rating is not None
    count = 0
    for second in range(0, 24 * 3600, 10):
        rating.book.note_gains({bytes(32): 0.1, bytes([1]) * 32: 0.2}, 1000 * second)
        rating._has_news = True
        count += rating.due(1000 * second) is not None
    return count


def _name(number: int) -> str:
    told = {_WRONG: "1, mislabelled", _FEW: f"2, {_ROWS} rows", _LIAR: "3, who lies"}
    return f"person {told.get(number, number + 1)}"
