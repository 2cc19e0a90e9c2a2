"""The accountant against published figures, and against another program's."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.privacy.accountant import delta_of, epsilon_of, mu_for, mu_of, noise_multiplier
from learnae.privacy.noise.correlated import banded_sensitivity

DELTA = 1e-5


@pytest.mark.parametrize(
    ("delta", "mus"),
    [(1e-5, (0.2681, 0.5016, 0.9249, 1.6660)), (1e-3, (0.3884, 0.6919, 1.2150, 2.0833))],
)
def test_mu_of_epsilon(delta: float, mus: tuple[float, ...]) -> None:
    assert [mu_for(epsilon, delta) for epsilon in (1, 2, 4, 8)] == pytest.approx(mus, abs=6e-5)


def test_noise_multipliers() -> None:
    assert [round(noise_multiplier(epsilon, DELTA, 80), 2) for epsilon in (1, 2, 4, 8)] == [33.37, 17.83, 9.67, 5.37]


def test_an_epsilon_at_another_delta() -> None:
    found = [round(epsilon_of(mu_for(epsilon, 1e-3), 1e-5), 2) for epsilon in (1, 2, 4, 8)]
    assert found == [1.51, 2.87, 5.49, 10.51]


def test_noise_rounded_down_is_said_to_protect_less() -> None:
    assert 2.003 < epsilon_of(mu_of([17.8] * 80), DELTA) < 2.005


@given(st.floats(0.01, 90), st.floats(1e-12, 1e-2), st.integers(1, 1_000_000))
def test_what_is_made_for_an_epsilon_never_costs_more(epsilon: float, delta: float, releases: int) -> None:
    noise = noise_multiplier(epsilon, delta, releases)
    mu = math.sqrt(releases) / noise
    assert epsilon_of(mu, delta) <= epsilon
    assert delta_of(mu, epsilon) <= delta
    assert epsilon_of(mu * 1.01, delta) > epsilon  # and no more noise than that is added


@given(st.floats(1e-3, 10), st.floats(1e-12, 0.1))
def test_epsilon_is_rounded_up(mu: float, delta: float) -> None:
    epsilon = epsilon_of(mu, delta)
    assert math.isinf(epsilon) or delta_of(mu, epsilon) <= delta


def test_without_noise_nothing_is_promised() -> None:
    assert epsilon_of(50.0, DELTA) == math.inf
    assert epsilon_of(0.0, DELTA) == 0.0
    with pytest.raises(ValueError, match="can be computed"):
        delta_of(1.0, 101.0)


@pytest.mark.modules("dp_accounting")
@pytest.mark.parametrize(
    ("sigma", "releases", "partitions"),
    [(2.0, 1, 1), (2.0, 10, 1), *product((5.37, 33.37), (1, 30, 80), (1,)), (9.67, 80, 4), (9.67, 800, 20)],
)
def test_another_program_finds_the_same(sigma: float, releases: int, partitions: int) -> None:
    """Within 1 % of dp-accounting's PLD, and never below it; of a partition a row takes part once in so many."""
    from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
    from dp_accounting.pld import PLDAccountant

    part_in = releases // partitions
    cost = banded_sensitivity(partitions)
    oracle = PLDAccountant()
    oracle.compose(SelfComposedDpEvent(GaussianDpEvent(sigma / cost), part_in))
    own = epsilon_of(mu_of([sigma / cost] * part_in), DELTA)
    assert oracle.get_epsilon(DELTA) <= own <= oracle.get_epsilon(DELTA) * 1.01
