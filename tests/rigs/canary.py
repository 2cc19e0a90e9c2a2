"""Planted readings, and the search for them in all that leaves a machine: exact, so that a hit is a leak.

A single reading of float32 has about 26 bits. Where a legitimate number is one, too, as a loss that is computed
in float32 and sent as float64, random readings are met by chance: 72 of them by the 422 losses of a run over IPFS
3e-4 times (measured: how many losses lie near each reading, times the distance of two floats there), 720 of them ten
times as often; and as decimals with six places, one probability or fraction of a second in 3,000. So what is planted
is what nothing legitimate is:

- All readings are negative, and a loss, an accuracy, a score of a class, a count and a time are not; the sums of a
  summary are whole numbers. So a single reading is searched for where it is long: as float64 (8 bytes), and as a
  decimal with its sign (9 characters).
- As float32 and float16 it would be 4 and 2 bytes, which occur anywhere: there, runs of 8 bytes are searched for.

What is left is 8 bytes by chance. Of 5,000 patterns in 10^8 bytes of hashes, signatures and compressed weights:
5e11 x 2^-64 = 3e-8. Of pairs in float32 weights, where each has 22 bits at least: 2,400 patterns in 10^6 weights, 2^-44
each: 1e-4. Of float64, whose last three bytes are zero, beside three zeros (10^5 places): 1,440 x 10^5 x 2^-40 = 1e-4.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

CHANNELS = 6
FORMATS = ("<f4", ">f4", "<f8", ">f8", "<f2", ">f2")
_RUN = 8  # bytes
_LEAST, _MOST = 0.25, 4.0  # of a reading without its sign: no exponent, and one digit before the point


def private_readings(seed: int, rows: int) -> np.ndarray:
    """Make readings (rows, CHANNELS) in float32 as described above, the same for the same seed."""
    values = -(_LEAST + np.abs(np.random.default_rng(seed).normal(size=(rows, CHANNELS))))
    return np.maximum(values, -_MOST + 0.1).astype(np.float32)


def patterns(readings: np.ndarray) -> list[bytes]:
    """Every form in which these rows of planted readings could travel."""
    assert (readings < 0).all()
    found = {}
    for row in readings:
        for form in FORMATS:
            array = row.astype(form)
            encoded = array.tobytes()
            found.update((encoded[start : start + _RUN], 0) for start in range(0, len(encoded) - 7, array.itemsize))
        for value in map(float, row):
            found.update({f"{value:.6f}".encode(): 0, f"{value:.9f}"[:-3].encode(): 0})  # rounded, and cut
    return list(found)


def leaks(place: Path, planted: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Names of files in ``place`` with a planted reading, and what is around it."""
    files = [path for path in place.rglob("*") if path.is_file()]
    assert files
    for path in files:
        yield from ((path.name, around) for around in leaks_in(path.read_bytes(), planted))


def leaks_in(data: bytes, planted: Sequence[bytes]) -> Iterator[bytes]:
    """Return what is around each planted reading."""
    for pattern in planted:
        if (place := data.find(pattern)) >= 0:
            yield data[max(0, place - 30) : place + 30]
