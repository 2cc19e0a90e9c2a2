"""A test's own processes: they start in milliseconds, with nothing open that SQLite forbids to carry across a fork."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["learnae.runtime.linked_peer", "learnae.runtime.observer"])
END_SECONDS = 60.0


@contextmanager
def running(target: Callable[..., object], count: int, *arguments: Any) -> Iterator[list[BaseProcess]]:
    """Run ``target(*arguments, number)`` in processes of their own, which succeed."""
    processes: list[BaseProcess] = [
        PROCESSES.Process(target=target, args=(*arguments, number)) for number in range(count)
    ]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.join(END_SECONDS)
    assert [process.exitcode for process in processes] == [0] * count


def kill(process: BaseProcess) -> None:
    """``kill -9``; the process must not have ended by itself."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(END_SECONDS)
    assert process.exitcode == -signal.SIGKILL, "it ended by itself: see its traceback"
