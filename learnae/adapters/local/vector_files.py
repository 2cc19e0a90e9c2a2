"""ports.Keep: large vectors in files without a name, of which memory holds what is looked at while there is room."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from learnae.basics.memory import give_back
from learnae.system.atomic_files import TEMPORARY
from learnae.weights.codecs import Vector

if TYPE_CHECKING:
    from mmap import mmap

LARGE = 1 << 19  # values: 2 MiB; smaller ones are no burden

_kept = WeakSet["mmap"]()


def keep(directory: Path, vector: Vector) -> Vector:
    """Return the same values, read-only: those of a large ``vector`` (n,) are mapped from a file without a name.

    The system takes their memory for other things when it is short of it, and reads them again; whenever one is kept,
    this process lets go of the memory of all. The file is gone when nothing holds the vector any more, however the
    process ends. Where the disk takes nothing they stay in memory.
    """
    if len(vector) < LARGE or is_mapped(vector):
        return vector
    import mmap  # noqa: PLC0415 - half a megabyte of modules, which small models have no use for
    import tempfile  # noqa: PLC0415

    left = np.ascontiguousarray(vector, np.float32).data.cast("B")
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=TEMPORARY, buffering=0) as file:
            while left:  # by write: a mapping that is written to ends the process where the disk is full
                left = left[os.write(file.fileno(), left) :]
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return vector
    for each in [*_kept]:  # looked at until now; when they are looked at again, the system's cache mostly has them
        each.madvise(mmap.MADV_DONTNEED)
    _kept.add(mapped)
    give_back()
    return np.frombuffer(mapped, np.float32)


def is_mapped(vector: Vector) -> bool:
    """Return True for what ``keep`` has mapped from a file."""
    import mmap  # noqa: PLC0415 - as above

    base = vector.base
    return isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)
