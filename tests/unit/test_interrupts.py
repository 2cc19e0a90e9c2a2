"""Ctrl-C while a program begins: it ends at once, without a traceback; later it is an exception as ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from programs import clean_environment

from learnae.interrupts import abrupt

PROGRAM = """
import signal, sys, time
from learnae.interrupts import abrupt

with abrupt():
    if sys.argv[1] == "within":
        print("ready", flush=True)
        time.sleep(600)
try:
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(("where", "status", "said"), [("within", -signal.SIGINT, ""), ("after", 0, "interrupted\n")])
def test_ctrl_c_ends_what_begins_and_interrupts_what_runs(where: str, status: int, said: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, where],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (said, "")
    assert process.returncode == status


@pytest.fixture
def handler() -> object:
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("other", [signal.SIG_IGN, lambda number, frame: None])
def test_who_handles_ctrl_c_already_goes_on_doing_so(handler: object, other: object) -> None:
    signal.signal(signal.SIGINT, other)
    with abrupt():
        assert signal.getsignal(signal.SIGINT) is other


def test_another_thread_leaves_it_alone() -> None:
    seen = []

    def work() -> None:
        with abrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
