"""Ctrl-C while a program begins: it ends at once, without a traceback; later it is an exception as ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from programs import clean_environment

from learnae.interrupts import abrupt, held_back

PROGRAM = """
import signal, sys, time
from learnae.interrupts import abrupt, held_back

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
    with held_back() as heard, heard():
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


HELD = """
import sys, time
from learnae.interrupts import held_back

with held_back() as heard:
    try:
        print("ready", flush=True)
        deadline = time.monotonic() + float(sys.argv[1])
        while time.monotonic() < deadline:
            time.sleep(0.01)
        print("whole", flush=True)
        with heard():
            print("pause", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("seconds", "pressed_after", "said"),
    [
        (0.5, ["ready"], ["ready", "whole", "interrupted"]),  # it waits for the pause, and ends that at once
        (0, ["ready", "whole", "pause"], ["ready", "whole", "pause", "interrupted"]),
        (60, ["ready", None], ["ready", "interrupted"]),  # a second one does not wait
    ],
)
def test_ctrl_c_waits_for_a_pause(seconds: float, pressed_after: list[str | None], said: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, str(seconds)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    heard = []
    for line in pressed_after:
        if line is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # or both would be one
        else:
            heard.append(process.stdout.readline().strip())
    process.send_signal(signal.SIGINT)
    while heard[-1] != "interrupted":
        heard.append(process.stdout.readline().strip())
        assert heard[-1]
    assert heard == said
    process.send_signal(signal.SIGINT)  # afterwards it is as it was
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
