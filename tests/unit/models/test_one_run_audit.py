"""What an audit in one run is certain of stays below the private learner's claim, and finds too little noise out."""

import pytest

from bench.privacy.one_run import chance, lower_bound
from learnae.privacy.policy import TrainingPrivacy

CLAIM = TrainingPrivacy(4.0, releases=10)
CANARIES = 600


@pytest.mark.parametrize("partitions", [1, 3])
def test_the_claim_holds(partitions: int) -> None:
    assert 0.5 < lower_bound(CLAIM, CANARIES, 1, partitions=partitions) <= CLAIM.epsilon


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_tenth_of_the_noise_is_found_out(partitions: int) -> None:
    found = lower_bound(CLAIM, CANARIES, 1, share=0.1, partitions=partitions)
    assert found > CLAIM.epsilon / 10
    assert found > CLAIM.epsilon  # and the claim is refuted


def test_the_chance_of_guesses_is_the_published_one() -> None:
    """Without delta it is the binomial tail: 8 of 10 at epsilon 0 is 56 of 1,024."""
    assert chance(10, 10, 8, 0.0, 0.0) == pytest.approx(56 / 1024)
    assert chance(10, 10, 8, 0.0, 1e-3) > 56 / 1024
