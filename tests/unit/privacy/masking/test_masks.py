"""Masks: totals are exact for any group, and tell nothing before all is open."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from builders import SWARM, identity
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import MaskError, SealError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.privacy.masking.masks import BOUND, Group, masked, public_of, total
from learnae.privacy.masking.noise_share import conspirators, noisy, share

VALUES = st.integers(-BOUND, BOUND)


class Party:
    """So many members with keys and seeds for a sum of so many values."""

    def __init__(self, members: int, values: int, swarm: Cid = SWARM) -> None:
        self.authors = tuple(sorted(identity(number).author for number in range(members)))
        self.privates = [X25519PrivateKey.from_private_bytes(bytes([1 + n]) * 32) for n in range(members)]
        self.seeds = {author: bytes([n, 7]) * 16 for n, author in enumerate(self.authors)}
        self.group = Group(swarm, values, self.authors, tuple(map(public_of, self.privates)))

    def masked(self, addends: Sequence[Any]) -> dict[bytes, bytes]:
        return {
            author: masked(self.group, author, private, self.seeds[author], np.array(addend, np.int64))
            for author, private, addend in zip(self.authors, self.privates, addends, strict=True)
        }


@given(st.integers(5, 16).flatmap(lambda n: st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=n, max_size=n)))
def test_totals_are_exact_for_any_group_and_any_values_in_range(addends: list[tuple[int, ...]]) -> None:
    party = Party(len(addends), 3)
    found = total(party.group, party.masked(addends), party.seeds)
    assert found.tolist() == [sum(column) for column in zip(*addends, strict=True)]


@pytest.mark.parametrize("value", [BOUND, -BOUND])
def test_sixteen_of_the_largest_values_do_not_overflow(value: int) -> None:
    party = Party(16, 2)
    assert total(party.group, party.masked([[value] * 2] * 16), party.seeds).tolist() == [16 * value] * 2


@pytest.mark.parametrize(
    "addend", [[BOUND + 1, 0], [0, -BOUND - 1], [0], [0, 0, 0], [[0, 0]], [0.5, 0.5], [2**63 - 1, 0]], ids=str
)
def test_what_could_overflow_or_does_not_fit_is_refused(addend: list[Any]) -> None:
    party = Party(5, 2)
    with pytest.raises(MaskError):
        masked(party.group, party.authors[0], party.privates[0], bytes(32), np.array(addend))


def test_a_masked_vector_looks_uniform_whatever_it_holds() -> None:
    """Chi-squared of the bytes of 16,000 values: 255 degrees of freedom, so that 400 is 6 sigma."""
    party = Party(8, 16_000)
    for addends in ([[0] * 16_000] * 8, [[BOUND] * 16_000] * 8):
        for vector in party.masked(addends).values():
            counts = np.bincount(np.frombuffer(vector, np.uint8), minlength=256)
            assert float(np.sum((counts - 250.0) ** 2) / 250.0) < 400


def test_with_one_seed_missing_nothing_of_the_total_is_left() -> None:
    """All but one member have opened: their seeds taken off, what remains is as uniform as one vector."""
    party = Party(5, 16_000)
    vectors = party.masked([[1] * 16_000] * 5)
    seeds = {**party.seeds, party.authors[2]: bytes(32)}  # not what it was masked with
    found = total(party.group, vectors, seeds)
    assert abs(float(np.mean(found >= 0)) - 0.5) < 0.03
    with pytest.raises(MaskError):
        total(party.group, vectors, {key: seed for key, seed in seeds.items() if key != party.authors[2]})
    with pytest.raises(MaskError):
        total(party.group, {**vectors, party.authors[0]: b"1234"}, party.seeds)


def test_all_but_one_that_conspire_see_the_last_vector() -> None:
    """A limit that is documented: what they know is all but one addend, and the total."""
    party, addends = Party(5, 2), [[number, 10 * number] for number in range(5)]
    found = total(party.group, party.masked(addends), party.seeds)
    assert (found - np.sum(addends[1:], axis=0)).tolist() == addends[0]


def test_masks_of_one_sum_fit_no_other() -> None:
    """Another swarm, length, member or key is another name, and other masks of the same keys."""
    party = Party(5, 2)
    group, authors, keys = party.group, party.group.authors, party.group.keys
    others = [
        Group(Cid.of(DAG_CBOR, b"another"), 2, authors, keys),
        Group(SWARM, 3, authors, keys),
        Group(SWARM, 2, (*authors[:-1], b"\xff" * 32), keys),
        Group(SWARM, 2, authors, (*keys[:-1], public_of(X25519PrivateKey.from_private_bytes(b"x" * 32)))),
    ]
    names = {each.name for each in (group, *others)}
    said = {
        masked(each, authors[0], party.privates[0], bytes(32), np.zeros(each.values, np.int64))[:8]
        for each in (group, *others)
    }
    assert len(names) == len(said) == 5


def test_keys_that_share_no_mask_are_refused() -> None:
    party = Party(5, 1)
    bad = Group(SWARM, 1, party.authors, (*party.group.keys[:-1], bytes(32)))
    with pytest.raises(SealError):
        masked(bad, party.authors[0], party.privates[0], bytes(32), np.zeros(1, np.int64))
    with pytest.raises(MaskError):
        masked(party.group, party.authors[0], party.privates[1], bytes(32), np.zeros(1, np.int64))


@pytest.mark.parametrize("members", range(5, 17))
def test_the_honest_members_noise_is_enough_whichever_may_conspire(members: int) -> None:
    honest = members - conspirators(members)
    assert honest * share(members) == pytest.approx(1)
    assert conspirators(members) * 4 >= members


def test_a_totals_noise_is_enough_and_its_mean_the_vectors() -> None:
    rng, sigma, vector = np.random.default_rng(1), 3000.0, np.arange(-2000, 2000)
    addends = [noisy(vector, sigma, 8, rng.standard_normal) for _ in range(8)]
    error = np.sum(addends, axis=0) - 8 * vector
    assert np.std(error) == pytest.approx(sigma * (8 / 6) ** 0.5, rel=0.05)
    assert np.std(error - (addends[0] + addends[1] - 2 * vector)) == pytest.approx(sigma, rel=0.05)  # two conspire
    assert abs(float(np.mean(error))) < 300


def test_large_values_count_as_the_end_of_the_range_and_too_much_noise_is_refused() -> None:
    rng = np.random.default_rng(1)
    addend = noisy(np.array([2**62, -(2**62)]), 1000.0, 5, rng.standard_normal)
    assert np.all(np.abs(addend) <= BOUND)
    assert np.all(np.abs(addend) > BOUND - 20_000)
    with pytest.raises(MaskError):
        noisy(np.zeros(1, np.int64), 1e9, 5, rng.standard_normal)
