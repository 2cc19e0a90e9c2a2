import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.weights.codecs import Vector
from learnae.weights.merge import (
    TRIMMED,
    ConsensusEstimate,
    MergePolicy,
    Moments,
    Vote,
    consensus,
    merge,
    trimmed_mean,
    vote_weights,
    weighted_sum,
)

NOTHING = np.zeros(1, np.float32)


def vote(samples: int, time: int = 0, vector: Vector = NOTHING, *, settled: bool = False) -> Vote:
    return Vote(vector, samples, time, settled)


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def test_weights_are_shares_of_samples() -> None:
    assert vote_weights([vote(10), vote(15), vote(15)], 1000, 0) == [0.25, 0.375, 0.375]


def test_a_vote_halves_with_every_half_life_behind_the_newest() -> None:
    for start in (0, 10**12):
        votes = [vote(12, start), vote(12, start - 1000), vote(12, start - 2000)]
        assert vote_weights(votes, 1000, start + 10**6) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_the_vote_of_a_peer_that_has_settled_does_not_age() -> None:
    for newest in (0, 10**12):
        votes = [vote(20, newest), vote(30, newest - 10**9, settled=True), vote(40, newest - 1000)]
        assert vote_weights(votes, 1000, newest + 10) == pytest.approx([20 / 70, 30 / 70, 20 / 70])


def test_who_has_no_samples_has_no_vote_unless_nobody_has_any() -> None:
    assert vote_weights([vote(0), vote(5)], 1000, 0) == [0.0, 1.0]
    assert vote_weights([vote(0), vote(0, -(10**9))], 1000, 0) == [0.5, 0.5]


@pytest.mark.parametrize("claimed", [800, 4_000, 10**6, 2**53])
@pytest.mark.parametrize("ahead", [0, 299_000])
def test_no_claim_of_samples_or_of_time_buys_more_than_two_votes(claimed: int, ahead: int) -> None:
    now = 10**12
    honest = [vote(400, now - age) for age in (0, 1000, 2000, 500, 0, 0, 1500)]
    weights = vote_weights([*honest, vote(claimed, now + ahead)], 60_000, now)
    assert weights[-1] <= 2 * max(weights[:-1]) + 1e-12
    assert weights[-1] < 0.24


@given(
    st.lists(st.tuples(st.integers(0, 2**53), st.integers(0, 2**53)), min_size=1, max_size=10),
    st.integers(1, 10**10),
    st.integers(0, 2**53),
)
def test_weights_are_shares_of_one(claims: list[tuple[int, int]], half_life: int, now: int) -> None:
    weights = vote_weights([vote(samples, time) for samples, time in claims], half_life, now)
    assert sum(weights) == pytest.approx(1)
    assert all(0 <= weight <= 1 for weight in weights)


def test_the_merge_moves_a_step_towards_the_consensus() -> None:
    own = vector(0, 8)
    votes = [vote(1, 0, vector(4, 4)), *[vote(1, 0, vector(8, 0))] * 3]
    assert consensus(votes, 1000, 0).tolist() == [7.0, 1.0]
    assert merge(own, votes, MergePolicy(step=1.0), 0).tolist() == [7.0, 1.0]
    assert merge(own, votes, MergePolicy(step=0.5), 0).tolist() == [3.5, 4.5]
    assert merge(own, votes, MergePolicy(step=0.0), 0).tolist() == [0.0, 8.0]


def test_what_is_merged_stays_as_it_was() -> None:
    own, other = vector(1), vector(3)
    result = merge(own, [vote(1, 0, other)], MergePolicy(step=1.0), 0)
    result += 1
    assert (own.tolist(), other.tolist()) == ([1.0], [3.0])
    alone = consensus([vote(1, 0, other)], 1000, 0)
    alone += 1
    assert other.tolist() == [3.0]


@pytest.mark.parametrize("count", [1, (1 << 15) - 1, 1 << 15, (1 << 16) + 3])
@pytest.mark.parametrize("peers", [1, 2, 7])
def test_the_tiled_sum_is_the_plain_sum(count: int, peers: int) -> None:
    rng = np.random.default_rng(count + peers)
    vectors = [rng.normal(size=count).astype(np.float32) for _ in range(peers)]
    weights = rng.dirichlet(np.ones(peers)).tolist()
    plain = sum(weight * each.astype(np.float64) for weight, each in zip(weights, vectors, strict=True))
    result = weighted_sum(vectors, weights)
    assert result.dtype == np.float32
    assert np.abs(result - plain).max() < 2e-6


# -- the consensus estimate over time


def renewed(*, live: int, heard: int, times: int = 1, age: int = 1000) -> float:
    """An estimate of 4 that then hears votes for 0."""
    estimate = ConsensusEstimate(vector(9), 1000)
    estimate.renew([vote(1, 0, vector(4))] * heard, live, 0)
    assert estimate.vector.tolist() == [4]  # what was there before this process began is not averaged
    for number in range(times):
        estimate.renew([vote(1, 0, vector(0))] * heard, live, age + number)
    return float(estimate.vector[0])


def test_who_hears_all_votes_needs_no_average() -> None:
    assert renewed(live=2, heard=2) == 0


def test_who_hears_half_moves_half_way() -> None:
    assert renewed(live=4, heard=2) == 2


def test_few_votes_are_averaged_over_some_updates_and_not_for_ever() -> None:
    assert renewed(live=100, heard=1, times=2) == pytest.approx(4 * 0.7**2)


def test_an_estimate_older_than_the_half_life_is_replaced() -> None:
    assert renewed(live=4, heard=2, age=1000 + 1) == 0


def test_nobody_else_alive_is_no_division_by_zero() -> None:
    assert renewed(live=0, heard=1) == 0


# -- means and variances of rows

MIXED = Moments(np.array([1]), np.array([2]))  # of weights (a, mean, variance)


@given(st.lists(st.lists(st.floats(-100, 100), min_size=4, max_size=8), min_size=1, max_size=6), st.floats(0, 1))
def test_merged_moments_are_those_of_all_rows_together(rows: list[list[float]], step: float) -> None:
    votes = [vote(len(own), 0, vector(len(own), np.mean(own), np.var(own))) for own in rows]
    everything = np.concatenate(rows)
    found = consensus(votes, 1000, 0, MIXED)
    assert found[1] == pytest.approx(everything.mean(), abs=1e-3)
    assert found[2] == pytest.approx(everything.var(), rel=1e-4, abs=1e-2)
    assert found[0] == pytest.approx(np.average([len(own) for own in rows], weights=[len(own) for own in rows]))

    own = vector(0, np.mean(rows[0]), np.var(rows[0]))
    moved = merge(own, votes, MergePolicy(step), 0, MIXED)
    weights = np.concatenate(
        [np.full(len(rows[0]), (1 - step) / len(rows[0])), np.full(len(everything), step / len(everything))]
    )
    together = np.concatenate([rows[0], everything])
    mean = np.average(together, weights=weights)
    assert moved[1] == pytest.approx(mean, abs=1e-3)
    assert moved[2] == pytest.approx(np.average((together - mean) ** 2, weights=weights), rel=1e-4, abs=1e-2)


def test_a_variance_below_zero_takes_nothing_from_the_others() -> None:
    votes = [vote(1, 0, vector(0, 3, -5)), vote(1, 0, vector(0, 3, 2))]
    assert consensus(votes, 1000, 0, MIXED)[2] == 1.0


def test_an_estimate_over_time_mixes_moments() -> None:
    estimate = ConsensusEstimate(vector(0, 0, 0), 1000, MIXED)
    estimate.renew([vote(1, 0, vector(0, 0, 1))], 2, 0)
    estimate.renew([vote(1, 0, vector(0, 4, 1))], 2, 1)  # one of two that live: half of it
    assert estimate.vector.tolist() == [0.0, 2.0, 5.0]


def slowly_trimmed(vectors: list[Vector], weights: list[float]) -> list[float]:
    """Sort one coordinate after another."""
    counted = [index for index, weight in enumerate(weights) if weight > 0] or list(range(len(weights)))
    cut, result = 3 * len(counted) // 8, []
    for place in range(len(vectors[0])):
        ordered = sorted(counted, key=lambda index: float(vectors[index][place]))[cut : len(counted) - cut]
        shares = [weights[index] or 1.0 for index in ordered]
        total = sum(share * float(vectors[index][place]) for share, index in zip(shares, ordered, strict=True))
        result.append(total / sum(shares))
    return result


@given(
    st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=1, max_size=9),
    st.lists(st.sampled_from([0.0, 0.1, 0.4]), min_size=9, max_size=9),
)
def test_a_trimmed_mean_is_that_of_each_coordinate_sorted(rows: list[list[float]], weights: list[float]) -> None:
    vectors = [vector(*row) for row in rows]
    found = trimmed_mean(vectors, weights[: len(rows)])
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(slowly_trimmed(vectors, weights[: len(rows)]), rel=1e-5, abs=1e-4)


@given(st.integers(4, 30), st.data())
def test_three_of_eight_liars_move_no_weight_beyond_what_honest_peers_have(count: int, data: st.DataObject) -> None:
    honest = np.random.default_rng(count).normal(size=(count - 3 * count // 8, 40_000 if count == 8 else 5))
    lies = [data.draw(st.sampled_from([-1e30, -1.0, 0.0, 1e30])) for _ in range(count - len(honest))]
    vectors = [row.astype(np.float32) for row in honest]
    vectors += [np.full(honest.shape[1], lie, np.float32) for lie in lies]
    found = trimmed_mean(vectors, [1 / count] * count)
    assert (found >= np.float32(honest.min(axis=0)) - 1e-6).all()
    assert (found <= np.float32(honest.max(axis=0)) + 1e-6).all()


def test_only_a_swarm_that_asks_for_it_is_trimmed() -> None:
    votes = [vote(10, vector=vector(value)) for value in (1, 2, 3, 100)]
    assert consensus(votes, 1000, 0).tolist() == [26.5]
    assert consensus(votes, 1000, 0, rule=TRIMMED).tolist() == [2.5]
    assert merge(vector(0), votes, MergePolicy(step=0.5, rule=TRIMMED), 0).tolist() == [1.25]
    estimate = ConsensusEstimate(vector(0), 1000, rule=TRIMMED)
    estimate.renew(votes, 4, 0)
    assert estimate.vector.tolist() == [2.5]
