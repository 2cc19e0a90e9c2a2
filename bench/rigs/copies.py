"""Copies of a process: many ways to go on from one simulated state, without making it again."""

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_FORK = multiprocessing.get_context("fork")


def in_copy(function: Callable[[], Found]) -> Found:
    """Call ``function`` in a copy of this process, which must have one thread: what it changes is changed there only.

    Raises EOFError if it fails; its traceback is on the standard error.
    """
    ours, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=lambda: theirs.send(function()))
    process.start()
    theirs.close()
    try:
        found: Found = ours.recv()
        return found
    finally:
        process.join()
        ours.close()
