"""Curl-P-81 and its proof of work, in NumPy: what finds a transaction's name and its nonce.

A hash is 243 trits of a sponge of 729; a transaction (8,019 trits) is absorbed in 33 blocks, and its
hash must end in as many zero trits as the network's minimum weight magnitude demands. ``curl`` is the
plain form, ``search`` tries thousands of nonces at once in bit slices; both agree with pyota's.
Specification: IOTA RFC-0015 (proof of work), iota.crypto.pycurl.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae.errors import EncodingError, TransportError

ALPHABET = b"9ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # trytes 0 to 13, then -13 to -1
TRANSACTION_TRYTES = 2673
HASH_TRYTES = 81
MAX_MWM = 18  # a day of NumPy's search

Trits = NDArray[np.int8]
_Planes = NDArray[np.uint64]

_HASH, _STATE, _ROUNDS = 243, 729, 81
_NONCE = slice(162, 243)  # in a transaction's last block
_LANE_TRITS = 7  # of the nonce: they number the lanes of a batch, 3^7 = 2,187 are enough
_WORDS = 32  # of 64 lanes: what fits into a small core's second cache, and is a full batch
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _balanced(value: int) -> list[int]:
    trits = []
    for _ in range(3):
        trits.append((value + 1) % 3 - 1)
        value = (value - trits[-1]) // 3
    return trits


def _walk() -> NDArray[np.intp]:
    """Where each round reads: trit n of the new state comes from places n and n + 1 of this list."""
    places = [0]
    for _ in range(_STATE):
        places.append(places[-1] + (364 if places[-1] < 365 else -365))
    return np.array(places)


_VALUES = [number if number <= 13 else number - 27 for number in range(27)]
_TRITS = np.array([_balanced(value) for value in _VALUES], np.int8)
_LETTER = np.zeros(27, np.uint8)  # by value + 13
_LETTER[np.array(_VALUES) + 13] = np.frombuffer(ALPHABET, np.uint8)
_INDEX = np.full(256, 255, np.uint8)
_INDEX[np.frombuffer(ALPHABET, np.uint8)] = np.arange(27)
_PLACES = _walk()
_BOX = np.array([1, 0, -1, 1, -1, 0, -1, 1, 0], np.int8)  # the truth table, by first + 3 * second + 4


def to_trits(trytes: str) -> Trits:
    """Trytes (n) as balanced trits (3 n), least significant first; raises EncodingError."""
    indices = _INDEX[np.frombuffer(trytes.encode(errors="replace"), np.uint8)]
    if (indices == 255).any():
        raise EncodingError(f"{trytes[:27]!r} are no trytes", "trytes are 9 and A to Z")
    return _TRITS[indices].reshape(-1)


def to_trytes(trits: Trits) -> str:
    """Trits (3 n) as trytes (n)."""
    values = trits.reshape(-1, 3).astype(np.int64) @ np.array([1, 3, 9])
    return _LETTER[values + 13].tobytes().decode()


def curl(trits: Trits) -> Trits:
    """Return the Curl-P-81 hash (243) of trits (243 n)."""
    return _absorb(trits)[:_HASH]


def hash_of(trytes: str) -> str:
    """Return the name of a transaction (2,673 trytes): 81 trytes. Raises EncodingError."""
    if len(trytes) != TRANSACTION_TRYTES:
        raise EncodingError(f"{len(trytes)} trytes are no transaction", f"one has {TRANSACTION_TRYTES}")
    return to_trytes(curl(to_trits(trytes)))


def weight(name: str) -> int:
    """How many zero trits a hash (81 trytes) ends in: its weight magnitude."""
    nonzero = np.flatnonzero(to_trits(name))
    return _HASH - 1 - int(nonzero[-1]) if nonzero.size else _HASH


def search(trytes: str, mwm: int, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the transaction with a nonce such that its hash weighs at least ``mwm``.

    Tries 3^mwm nonces on average. Raises TransportError when ``stopped`` says so, asked once a batch.
    """
    trits = to_trits(trytes)
    state = _absorb(trits[:-_HASH])
    state[:_HASH] = trits[-_HASH:]
    batch = _Batch(state)
    counter = np.full(_NONCE.stop - _NONCE.start - _LANE_TRITS, -1, np.int8)
    while not stopped():
        lane = batch.find(counter, mwm)
        if lane is not None:
            nonce = np.concatenate([batch.lanes[:, lane], counter])
            return trytes[: -len(nonce) // 3] + to_trytes(nonce)
        _count_up(counter)
    raise TransportError("stopped before the proof of work was found", "it is done again at the next start")


def _absorb(trits: Trits) -> Trits:
    state = np.zeros(_STATE, np.int8)
    for start in range(0, len(trits), _HASH):
        state[:_HASH] = trits[start : start + _HASH]
        for _ in range(_ROUNDS):
            read = state.take(_PLACES)
            state = _BOX.take(read[:-1] + 3 * read[1:] + 4)
    return state


def _count_up(counter: Trits) -> None:
    for place in range(len(counter)):
        counter[place] = counter[place] + 1 if counter[place] < 1 else -1
        if counter[place] != -1:
            return


class _Batch:
    """The last block's state: 64 lanes a word, a nonce each; a trit is two bits: -1 is low, 1 is high, 0 is both."""

    def __init__(self, state: Trits) -> None:
        numbers = np.arange(64 * _WORDS)
        self.lanes = np.array([numbers // 3**place % 3 - 1 for place in range(_LANE_TRITS)], np.int8)
        self._low = np.repeat(_bits(state <= 0), _WORDS, axis=1)
        self._high = np.repeat(_bits(state >= 0), _WORDS, axis=1)
        own = slice(_NONCE.start, _NONCE.start + _LANE_TRITS)
        self._low[own] = np.packbits(self.lanes <= 0, axis=1, bitorder="little").view(np.uint64)
        self._high[own] = np.packbits(self.lanes >= 0, axis=1, bitorder="little").view(np.uint64)
        self._counted = slice(own.stop, _NONCE.stop)
        self._buffers = [np.empty_like(self._low) for _ in range(6)]

    def find(self, counter: Trits, mwm: int) -> int | None:
        """Find a lane whose hash weighs enough with this rest of the nonce; None if there is none."""
        self._low[self._counted] = _bits(counter <= 0)
        self._high[self._counted] = _bits(counter >= 0)
        low, high = self._transform()
        zero = np.bitwise_and.reduce(low[_HASH - mwm : _HASH] & high[_HASH - mwm : _HASH], axis=0)
        found = np.flatnonzero(np.unpackbits(zero.view(np.uint8), bitorder="little"))
        return int(found[0]) if found.size else None

    def _transform(self) -> tuple[_Planes, _Planes]:
        low, high, a, b, c, d = self._buffers
        low[:], high[:] = self._low, self._high
        first, second = _PLACES[:-1], _PLACES[1:]
        for _ in range(_ROUNDS):
            low.take(first, axis=0, out=a, mode="clip")  # clip: written in place, not through a copy
            high.take(first, axis=0, out=b, mode="clip")
            low.take(second, axis=0, out=c, mode="clip")
            high.take(second, axis=0, out=d, mode="clip")
            np.bitwise_xor(c, b, out=c)
            np.invert(d, out=b)
            np.bitwise_or(b, a, out=b)
            np.bitwise_and(c, b, out=c)
            np.bitwise_xor(a, d, out=a)
            np.bitwise_or(a, c, out=high)
            np.invert(c, out=low)
        return low, high


def _bits(flags: NDArray[np.bool_]) -> _Planes:
    """One word a flag: all ones or all zeros (n, 1)."""
    return np.where(flags, _ALL, np.uint64(0))[:, None]
