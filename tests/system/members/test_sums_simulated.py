"""Masked sums among real peers in virtual time: lost packets, kills, members that are removed, newcomers."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from builders import tiny_dataset, tiny_manifest
from sums_rig import Numbers

from learnae.errors import ManifestError
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import REMOVE, Vote
from learnae.models.dataset import Dataset
from learnae.peer.masking.standing import Standing
from learnae.peer.state import PeerState
from learnae.peer.summaries.releasing import Releasing
from learnae.privacy.policy import MASKED, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.bodies import FULL
from learnae.protocol.limits import MINUTE
from learnae.protocol.sum_bodies import MaskedVector, MaskOpen, MaskReady
from learnae.runtime.private.summaries import addend_of, lessons_of
from learnae.samples.dp_statistics import Statistics, layout_of
from learnae.simulation.in_memory import MemoryStateStore
from learnae.simulation.network import Weather
from learnae.simulation.simulator import Setting, Simulation, identity_of

SEED = 3
MASKED_PRIVACY = PrivacyPolicy(summary=SummaryPrivacy(sharing=MASKED, form=FULL))


def swarm(count: int, loss: float = 0.05, rows: int = 8, readers: int = 0) -> Simulation:
    """So many members, all founders; the last ``readers`` add nothing."""
    keys = [identity_of(SEED, index) for index in range(count)]
    policy = MembershipPolicy.of("invite", [Founder(key.author, key.x25519) for key in keys], 1)
    manifest = tiny_manifest(membership=policy, privacy=MASKED_PRIVACY)
    datasets = [
        tiny_dataset(manifest, index, rows) if rows else Dataset(manifest.model, manifest.objective)
        for index in range(count)
    ]
    layout = layout_of(manifest)
    assert layout is not None
    sources = [Numbers(index, layout.groups * layout.size) for index in range(count - readers)]
    return Simulation(
        manifest,
        datasets,
        Setting(SEED, period=5000, weather=Weather((10, 300), loss)),
        addends=lambda index: sources[index] if index < len(sources) else None,
    )


def standing(simulation: Simulation, index: int) -> Standing:
    sums = simulation.members[index].peer.sums
    assert sums is not None
    return sums.standing


def totals(simulation: Simulation) -> set[tuple[int, ...]]:
    found = [standing(simulation, index).totals for index in range(len(simulation.members))]
    return {tuple(each[-1].values.tolist()[:3]) if each else () for each in found}


@pytest.mark.parametrize("rows", [8, 0], ids=["trainers", "boards that do not train"])
def test_members_sum_over_a_network_that_loses_packets_and_a_reader_sees_the_total(rows: int) -> None:
    simulation = swarm(7, rows=rows, readers=1)
    simulation.run(4 * MINUTE)
    assert totals(simulation) == {(21, 6, 36)}
    assert {member.peer.sums.status()["state"] for member in simulation.members[:6] if member.peer.sums} == {"done"}
    assert not any("MaskError" in member.peer.errors.counts for member in simulation.members)


@pytest.mark.parametrize("kind", [MaskReady, MaskedVector, MaskOpen])
def test_a_machine_killed_after_any_phase_goes_on_and_the_sum_is_done(kind: type) -> None:
    simulation = swarm(6, rows=0)
    for _ in range(60):
        simulation.run(2000)
        last = simulation.members[2].peer.own.last
        if last and isinstance(last.body, kind):
            break
    else:
        pytest.fail("it has said nothing of that kind")
    simulation.crash(2)
    simulation.run(10_000)
    simulation.restart(2)
    assert standing(simulation, 2).private or standing(simulation, 2).opened
    simulation.run(14 * MINUTE)
    assert {total[:2] for total in totals(simulation)} == {(21, 6)}


def test_what_a_peer_must_not_forget_is_on_its_disk_before_it_speaks() -> None:
    simulation = swarm(5, rows=0)
    simulation.run(4 * MINUTE)
    for member in simulation.members:
        data = member._state.load()
        assert data is not None
        saved = Standing.from_bytes(PeerState.from_bytes(data).sums, simulation.manifest.swarm)
        assert saved.opened is not None
        assert saved.opened.group.name in saved.told


def test_a_member_that_is_removed_is_in_no_sum() -> None:
    simulation = swarm(6, rows=0)
    simulation.run(10_000)
    owner = simulation.members[0].peer
    assert owner.steward is not None
    owner.steward.publish(Vote(simulation.members[5].peer.author, REMOVE))
    simulation.run(8 * MINUTE)
    assert {tuple(each.values.tolist()[:2]) for index in range(5) for each in standing(simulation, index).totals} == {
        (15, 5)
    }


def test_totals_of_summaries_teach_one_that_has_no_rows_and_no_summary_is_seen() -> None:
    simulation = swarm(7, rows=0, readers=7)
    manifest = simulation.manifest
    datasets = [
        tiny_dataset(manifest, seed, 200) if seed else Dataset(manifest.model, manifest.objective) for seed in range(7)
    ]
    releasing = [
        Releasing(
            manifest.privacy, lambda: Statistics(layout_of(manifest)), partial(len, data.train), MemoryStateStore()
        )
        for data in datasets
    ]
    sources = [addend_of(manifest, data, each) for data, each in zip(datasets, releasing, strict=True)]
    simulation.addends = lambda index: sources[index](simulation.clock.now())
    for member, data, each in zip(simulation.members, datasets, releasing, strict=True):
        each.begin(simulation.clock.now(), manifest.limits, False)
        lessons = lessons_of(manifest, data)
        member.peer.options = replace(member.peer.options, summaries=each, lessons=lessons)
    simulation.run(12 * MINUTE)
    reader, drawn = simulation.members[0].peer.options.lessons, datasets[0].drawn
    assert reader is not None
    assert (reader.teachers, reader.drift()) == (6, "")
    expected = drawn.rows @ np.array([1.0, -2.0]) + 1.0
    assert len(drawn.rows) > 500
    assert float(np.corrcoef(expected, drawn.targets.ravel())[0, 1]) > 0.5  # of 0.7, as covariances are shrunk
    assert [standing(simulation, index).releases for index in range(7)] == [0, 1, 1, 1, 1, 1, 1]
    assert not any(member.peer.view.summaries or member.peer.view.summary for member in simulation.members)


def test_an_open_swarm_masks_nothing() -> None:
    with pytest.raises(ManifestError, match="open swarm"):
        tiny_manifest(privacy=MASKED_PRIVACY)
    simulation = swarm(1)
    with pytest.raises(ManifestError, match="open swarm"):
        replace(simulation.manifest, membership=None)
