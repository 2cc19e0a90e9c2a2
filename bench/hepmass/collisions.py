"""Collisions that look like those of HEPMASS, and are none of them: a fast simulation of t tbar with one lepton.

Signal is a heavy particle that decays to t tbar, background is t tbar of the Standard Model, as in Baldi et al. 2016
(arXiv:1601.07913). Its one free constant was tuned to published results: agreement with them is calibration, no
validation. There are no parton densities, showers, spin correlations and pile-up. Energies in GeV.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TITLE = "HEPMASS-like simulation"
VERSION = 1  # of the rows: another one is another data set
MASSES = (500, 750, 1000, 1250, 1500)
FEATURES = 27
POWER = 5.0  # of the background's mass spectrum: decides how hard the task is

_COLLIDER = 8000.0
_TOP, _TOP_WIDTH, _W, _W_WIDTH = 173.0, 1.4, 80.4, 2.09
_LEAST, _MOST = 346.5, 3500.0  # mass of the pair
_SIGNAL_WIDTH = 0.015
_RADIATED, _RADIATED_SIGNAL, _SOFT = 1.5, 3.0, 0.5  # jets an event, mean
_MOST_RADIATED, _MOST_SOFT = 9, 4
_EMISSIONS, _EMITS = 2, 0.3
_CONE, _CONES = 0.5, 12
_LEAST_PT, _MOST_ETA, _ISOLATION, _JETS = 20.0, 2.5, 0.4, 4
_TAGS = np.array([0.06, 0.15, 0.88])  # of light, c and b jets
_LIGHT, _CHARM, _BOTTOM = 0, 1, 2
_LONGITUDINAL = 0.69  # of the Ws
_BLOCK = 4096  # events at once: their arrays stay in the cache
_PASSES = 0.4  # about the least share of events that passes

# of what stands in a row: mean and deviation of half signal, half background
_SHIFT = (
    4.167, 0.0, 0.0, 4.3, 0.0, 4.812,
    5.049, 0.0, 0.0, 0.5519, 4.585, 0.0, 0.0, 0.5533,
    4.126, 0.0, 0.0, 0.4157, 3.672, 0.0, 0.0, 0.2832,
    4.466, 5.571, 4.403, 5.508, 6.599,
)  # fmt: skip
_SCALE = (
    0.7031, 1.077, 1.813, 0.7304, 1.812, 0.9537,
    0.6368, 1.056, 1.815, 0.4973, 0.5574, 1.106, 1.813, 0.4972,
    0.4783, 1.163, 1.814, 0.4928, 0.4276, 1.245, 1.816, 0.4505,
    0.27, 0.561, 0.05574, 0.5742, 0.4935,
)  # fmt: skip
_LOGARITHMS = [0, 3, 6, 10, 14, 18, 22, 23, 24, 25, 26]

Doubles = NDArray[np.float64]
Array = NDArray[Any]
_PAIRS = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
_OTHERS = _PAIRS[::-1]  # jets that are not in the pair


def constants() -> dict[str, Any]:
    """Return what the rows follow from, beside the seed."""
    return {"version": VERSION, "power": POWER, "shift": list(_SHIFT), "scale": list(_SCALE)}


def make_rows(rng: np.random.Generator, mass: int, count: int) -> NDArray[np.float32]:
    """Return ``count`` rows (count, FEATURES) of signal of that ``mass``, 0 for background."""
    found: list[Array] = []
    missing = count
    while missing > 0:
        rows = _passing(rng, mass, min(_BLOCK, int(missing / _PASSES) + 16))
        found.append(rows[:missing])
        missing -= len(rows)
    return np.concatenate(found) if found else np.zeros((0, FEATURES), np.float32)


def _passing(rng: np.random.Generator, mass: int, count: int) -> NDArray[np.float32]:
    """Return those of ``count`` events that a detector would keep."""
    pair = _signal_masses(rng, mass, count) if mass else _background_masses(rng, count)
    radiated = _radiation(rng, pair, _RADIATED_SIGNAL if mass else _RADIATED)
    lepton, neutrino, partons = _decays(rng, _tops(rng, pair, radiated, is_signal=bool(mass)))
    lepton *= 1 + 0.02 * rng.standard_normal(count)
    kept = np.flatnonzero(_is_central(lepton))
    lepton, neutrino, partons = lepton[:, kept], neutrino[:, kept], partons[:, :, kept]
    slots, flavours = _all_slots(rng, partons, radiated[:, :, kept])
    spread = 0.3 * np.sqrt(slots[0].sum(axis=0) + _pt(lepton) + 60)
    missing = neutrino[1:3] + spread * rng.standard_normal((2, len(kept)))
    seen = np.flatnonzero(np.hypot(*missing) > _LEAST_PT)
    jets, flavours = _cones(slots[:, :, seen], flavours[:, seen])
    return _rows(rng, lepton[:, seen], missing[:, seen], jets, flavours)


def _background_masses(rng: np.random.Generator, count: int) -> Doubles:
    masses, shares = _spectrum(POWER)
    return np.interp(rng.random(count), shares, masses)


@cache
def _spectrum(power: float) -> tuple[Doubles, Doubles]:
    """Return masses and the shares of the background below them: gluons and quarks at leading order."""
    mass = np.geomspace(_LEAST, _MOST, 20_001)
    rho = 4 * _TOP**2 / mass**2
    beta = np.sqrt(1 - rho)
    gluons = (1 + rho + rho**2 / 16) * np.log((1 + beta) / (1 - beta)) - beta * (7 / 4 + 31 * rho / 16)
    quarks = beta * (1 + rho / 2)
    density = mass**-power * (1 - mass / _COLLIDER) ** 10 * (gluons + 0.158 * np.sqrt(mass / 400) * quarks)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(mass))])
    return mass, below / below[-1]


def _signal_masses(rng: np.random.Generator, mass: int, count: int) -> Doubles:
    return _resonance(rng, mass, _SIGNAL_WIDTH * mass, _LEAST, _MOST, (count,))


def _resonance(
    rng: np.random.Generator, centre: float, width: float, least: float, most: float, shape: tuple[int, ...]
) -> Doubles:
    """Draw from a Breit-Wigner peak between two masses."""
    low, high = np.arctan(2 * (np.array([least, most]) - centre) / width)
    return centre + width / 2 * np.tan(low + (high - low) * rng.random(shape))


def _radiation(rng: np.random.Generator, pair: Doubles, mean: float) -> Doubles:
    """Return jets of the initial state as (pt, eta, phi) of (3, slots, n); pt 0 where there is none."""
    shape = (_MOST_RADIATED, len(pair))
    is_there = np.arange(_MOST_RADIATED)[:, None] < rng.poisson(mean, len(pair))
    share = rng.random(shape) * (1 - 12 / np.maximum(60, pair / 2))
    return np.stack([is_there * 12 / (1 - share), rng.uniform(-4, 4, shape), rng.uniform(-np.pi, np.pi, shape)])


def _tops(rng: np.random.Generator, pair: Doubles, radiated: Doubles, is_signal: bool) -> Doubles:
    """Return both tops as (mass, energy, x, y, z) of (5, 2, n)."""
    rapidity = _accepted(rng, np.log(_COLLIDER / pair), *_boost_density(pair))
    beta2 = 1 - 4 * _TOP**2 / pair**2
    cosine = _accepted(rng, np.ones_like(pair), *(_signal_angle(beta2) if is_signal else _gluon_angle(beta2)))
    masses = _resonance(rng, _TOP, _TOP_WIDTH, _TOP - 10, _TOP + 10, (2, len(pair)))
    masses *= np.minimum(1, (pair - 0.2) / masses.sum(axis=0))
    pt, _, phi = radiated
    x, y = -(pt * np.cos(phi)).sum(axis=0), -(pt * np.sin(phi)).sum(axis=0)
    across = np.sqrt(pair**2 + x**2 + y**2)
    whole = np.stack([across * np.cosh(rapidity), x, y, across * np.sinh(rapidity)])
    first = _boosted(_two_body(rng, pair, masses[0], masses[1], cosine), whole, pair)
    return np.concatenate([masses[None], np.stack([first, whole - first], axis=1)])


def _accepted(rng: np.random.Generator, most: Doubles, density: Any, highest: Doubles) -> Doubles:
    """Draw from -most to most with a density (of values and the indices of their events) that has a highest value."""
    result = np.empty_like(most)
    left = np.arange(len(most))
    while len(left):
        tried = most[left] * rng.uniform(-1, 1, len(left))
        taken = rng.random(len(left)) * highest[left] < density(tried, left)
        result[left[taken]] = tried[taken]
        left = left[~taken]
    return result


def _boost_density(pair: Doubles) -> tuple[Any, Doubles]:
    tau = pair / _COLLIDER

    def density(rapidity: Doubles, index: Array) -> Doubles:
        own = tau[index]
        return np.asarray((1 - 2 * own * np.cosh(rapidity) + own**2) / (1 - own) ** 2) ** 5

    return density, np.ones_like(pair)


def _signal_angle(beta2: Doubles) -> tuple[Any, Doubles]:
    return lambda cosine, index: 1 + beta2[index] * cosine**2, 1 + beta2


def _gluon_angle(beta2: Doubles) -> tuple[Any, Doubles]:
    """Return the angle's density in the fusion of gluons at leading order, and a bound: its factors' own maxima."""

    def factors(square: Doubles, rho: Doubles) -> tuple[Doubles, Doubles]:
        rest = 1 - square
        return 2 / (3 * rest) - 3 / 8, (1 + square) / 2 + rho - rho**2 / rest

    def density(cosine: Doubles, index: Array) -> Doubles:
        colour, shape = factors(beta2[index] * cosine**2, 1 - beta2[index])
        return colour * shape

    rho = 1 - beta2
    return density, factors(beta2, rho)[0] * factors(1 - np.minimum(1, np.sqrt(2) * rho), rho)[1]


def _direction(rng: np.random.Generator, cosine: Doubles) -> Doubles:
    phi, sine = rng.uniform(-np.pi, np.pi, cosine.shape), np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine])


def _two_body(rng: np.random.Generator, mass: Doubles, one: Doubles, other: Doubles, cosine: Doubles) -> Doubles:
    """Return the first of two particles at rest together as (energy, x, y, z)."""
    energy = (mass**2 + one**2 - other**2) / (2 * mass)
    momentum = np.sqrt(np.maximum(energy**2 - one**2, 0))
    return np.concatenate([energy[None], momentum * _direction(rng, cosine)])


def _boosted(vector: Doubles, parent: Doubles, mass: Doubles) -> Doubles:
    """Return what (energy, x, y, z) in the rest frame of ``parent`` is in the frame that ``parent`` is told in."""
    energy = (vector * parent).sum(axis=0) / mass
    result = np.empty_like(vector)
    result[0] = energy
    result[1:] = vector[1:] + parent[1:] * ((vector[0] + energy) / (parent[0] + mass))
    return result


def _decays(rng: np.random.Generator, tops: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return lepton and neutrino of the first top (4, n), and the partons b, b, q, q' (4, 4, n), q' perhaps a c."""
    mass, top = tops[0], tops[1:]
    shape = mass.shape
    w_mass = _resonance(rng, _W, _W_WIDTH, _W - 20, _W + 20, shape)
    bottom = _two_body(rng, mass, np.zeros(shape), w_mass, rng.uniform(-1, 1, shape))
    flight = -bottom[1:] / bottom[0]
    momentum = bottom[0]
    parent = np.concatenate([np.sqrt(w_mass**2 + momentum**2)[None], momentum * flight])
    three = np.sort(rng.uniform(-1, 1, (3, *shape)), axis=0)
    cosine = np.where(rng.random(shape) < _LONGITUDINAL, three[1], three[0])  # 3/4 (1 - c^2); 3/8 (1 - c)^2
    down = _about(flight, _direction(rng, cosine)) * (w_mass / 2)
    down = _boosted(np.concatenate([(w_mass / 2)[None], down]), parent, w_mass)
    bottom, down = _boosted(bottom, top, mass), _boosted(down, top, mass)
    up = top - bottom - down
    partons = np.stack([bottom[:, 0], bottom[:, 1], down[:, 1], up[:, 1]], axis=1)
    return down[:, 0], up[:, 0], partons


def _about(axis: Doubles, direction: Doubles) -> Doubles:
    """Turn a ``direction`` about z (3, ...) into one about ``axis`` (3, ...), a unit vector."""
    x, y, z = axis
    across = np.maximum(np.hypot(x, y), 1e-12)
    cosine, sine = x / across, y / across
    tilted = direction[0] * z + direction[2] * across
    return np.stack(
        [
            tilted * cosine - direction[1] * sine,
            tilted * sine + direction[1] * cosine,
            direction[2] * z - direction[0] * across,
        ]
    )


def _pt(vector: Doubles) -> Doubles:
    return np.hypot(vector[1], vector[2])


def _eta(vector: Doubles) -> Doubles:
    return np.arcsinh(vector[3] / np.maximum(_pt(vector), 1e-9))


def _phi(vector: Doubles) -> Doubles:
    return np.arctan2(vector[2], vector[1])


def _mass(vector: Doubles) -> Doubles:
    return np.sqrt(np.maximum(vector[0] ** 2 - vector[1] ** 2 - vector[2] ** 2 - vector[3] ** 2, 1.0))


def _is_central(vector: Doubles) -> NDArray[np.bool_]:
    return (_pt(vector) > _LEAST_PT) & (np.abs(_eta(vector)) < _MOST_ETA)


def _all_slots(rng: np.random.Generator, partons: Doubles, radiated: Doubles) -> tuple[Doubles, Array]:
    """Return all that makes jets, (pt, eta, phi) of (3, slots, n), and each one's flavour (slots, n)."""
    count = partons.shape[-1]
    hard = np.stack([_pt(partons), _eta(partons), _phi(partons)])
    emitted = []
    for _ in range(_EMISSIONS):
        share = (rng.random(hard.shape[1:]) < _EMITS) * 0.05 * 10 ** rng.random(hard.shape[1:])
        angle, distance = rng.uniform(-np.pi, np.pi, share.shape), 0.1 * 10 ** rng.random(share.shape)
        away = distance * np.stack([np.cos(angle), np.sin(angle)])
        emitted.append(np.concatenate([(share * hard[0])[None], hard[1:] + (1 - share) * away]))
        hard[0] *= 1 - share
        hard[1:] -= share * away
    shape = (_MOST_SOFT, count)
    is_there = np.arange(_MOST_SOFT)[:, None] < rng.poisson(_SOFT, count)
    soft = [is_there * (12 + rng.exponential(8, shape)), rng.uniform(-4, 4, shape), rng.uniform(-np.pi, np.pi, shape)]
    slots = np.concatenate([hard, *emitted, radiated, np.stack(soft)], axis=1)
    flavours = np.zeros(slots.shape[1:], np.int8)
    flavours[:2] = _BOTTOM
    flavours[3] = np.where(rng.random(count) < 0.5, _CHARM, _LIGHT)
    return slots, flavours


def _cones(slots: Doubles, flavours: Array) -> tuple[Doubles, Array]:
    """Return jets (4, _CONES, n) around the hardest that is left, and each one's heaviest flavour."""
    pt, eta, phi = slots
    vectors = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    left, events = pt.copy(), np.arange(pt.shape[1])
    jets, heaviest = np.zeros((4, _CONES, len(events))), np.zeros((_CONES, len(events)), np.int8)
    for number in range(_CONES):
        hardest = left.argmax(axis=0)
        turn = np.abs(phi - phi[hardest, events])
        turn = np.abs(np.where(turn > np.pi, turn - 2 * np.pi, turn))
        inside = (turn**2 + (eta - eta[hardest, events]) ** 2 < _CONE**2) & (left > 0)
        jets[:, number] = (vectors * inside).sum(axis=1)
        heaviest[number] = (flavours * inside).max(axis=0)
        left[inside] = 0
        if not left.any():
            break
    return jets, heaviest


def _rows(rng: np.random.Generator, lepton: Doubles, missing: Doubles, jets: Doubles, flavours: Array) -> Array:
    """Measure jets, keep the events that pass all cuts, and return their rows (n, FEATURES)."""
    pt = np.maximum(_pt(jets), 1e-9)
    jets = jets * np.maximum(0.1, 1 + np.sqrt(0.49 / pt + 0.0016) * rng.standard_normal(pt.shape))
    good = _is_central(jets)
    turn = np.abs(_phi(jets) - _phi(lepton))
    near = np.hypot(np.minimum(turn, 2 * np.pi - turn), _eta(jets) - _eta(lepton)) < _ISOLATION
    number = good.sum(axis=0)
    kept = np.flatnonzero((number >= _JETS) & ~(near & good).any(axis=0))
    order = np.argsort(-(_pt(jets) * good)[:, kept].T, axis=1)[:, :_JETS].T
    jets, flavours = jets[:, order, kept], flavours[order, kept]
    tags = rng.random(flavours.shape) < _TAGS[flavours]
    coins = rng.random(len(kept)) < 0.5
    tagged = np.flatnonzero(tags.any(axis=0))
    of = kept[tagged]
    return _features(
        lepton[:, of], missing[:, of], number[of], jets[:, :, tagged], tags[:, tagged], coins[tagged]
    )  # fmt: skip


def _features(
    lepton: Doubles, missing: Doubles, number: Array, jets: Doubles, tags: Array, coins: Array
) -> NDArray[np.float32]:
    events = np.arange(len(number))
    pairs = jets[:, _PAIRS[:, 0]] + jets[:, _PAIRS[:, 1]]
    chosen = np.abs(_mass(pairs) - _W).argmin(axis=0)
    first, second = np.where(coins, _OTHERS[chosen].T, _OTHERS[chosen].T[::-1])
    quarks, neutrino = pairs[:, chosen, events], _neutrino(lepton, missing)
    leptons = lepton + neutrino
    sums = (
        quarks,
        quarks + jets[:, first, events],
        leptons,
        leptons + jets[:, second, events],
        leptons + jets.sum(axis=1),
    )
    columns = [_pt(lepton), _eta(lepton), _phi(lepton), np.hypot(*missing), np.arctan2(missing[1], missing[0]), number]
    for index in range(_JETS):
        jet = jets[:, index]
        columns += [_pt(jet), _eta(jet), _phi(jet), tags[index]]
    rows = np.stack([*columns, *map(_mass, sums)], axis=1)
    rows[:, _LOGARITHMS] = np.log(rows[:, _LOGARITHMS])
    return ((rows - np.array(_SHIFT)) / np.array(_SCALE)).astype(np.float32)


def _neutrino(lepton: Doubles, missing: Doubles) -> Doubles:
    """Return what makes a W together with the lepton: the smaller momentum along the beam; of two complex the real."""
    across = missing[0] ** 2 + missing[1] ** 2
    half = _W**2 / 2 + lepton[1] * missing[0] + lepton[2] * missing[1]
    square = lepton[1] ** 2 + lepton[2] ** 2
    energy2 = square + lepton[3] ** 2
    root = np.sqrt(np.maximum(energy2 * (half**2 - square * across), 0))
    along = half * lepton[3]
    along = np.where(along > 0, along - root, along + root) / square
    return np.stack([np.sqrt(across + along**2), missing[0], missing[1], along])
