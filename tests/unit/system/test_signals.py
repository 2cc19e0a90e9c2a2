"""Ctrl-C while a program begins ends it at once, without a traceback; later it is an exception as ever, or waits."""

from __future__ import annotations

import gc
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from programs import clean_environment, wait_for

from learnae.system.signals import abrupt, held_back

PROGRAM = """
import signal, sys, time
from learnae.system.signals import abrupt

with abrupt():
    if sys.argv[1] == "within":
        print("ready", flush=True)
        time.sleep(600)
try:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)  # a signal that arrives just before a sleep does not end it
except KeyboardInterrupt:
    print("interrupted")
"""


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", program, *arguments], subprocess.PIPE
    return subprocess.Popen(command, env=clean_environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize(("where", "status", "said"), [("within", -signal.SIGINT, ""), ("after", 0, "interrupted\n")])
def test_ctrl_c_ends_what_begins_and_interrupts_what_runs(where: str, status: int, said: str) -> None:
    process = started(PROGRAM, where)
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
    with held_back() as pause:
        pause(0)
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
from learnae.system.signals import held_back

with held_back() as pause:
    try:
        print("drawing", flush=True)
        sys.stdin.readline()
        print("whole", flush=True)
        pause(0)
        print("pause", flush=True)
        pause(600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
while True:
    time.sleep(0.01)  # a signal that arrives just before a sleep does not end it
"""


@pytest.fixture
def held() -> Iterator[subprocess.Popen[str]]:
    process = started(HELD)
    assert process.stdout.readline() == "drawing\n"
    yield process
    process.kill()
    process.communicate()


def end_drawing(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def next_line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def test_ctrl_c_waits_for_a_pause(held: subprocess.Popen[str]) -> None:
    held.send_signal(signal.SIGINT)
    wait_for(lambda: "\nShdPnd:\t0000000000000000\n" in Path(f"/proc/{held.pid}/status").read_text(), "it to come")
    end_drawing(held)
    assert [next_line(held), next_line(held)] == ["whole", "interrupted"]
    held.send_signal(signal.SIGINT)  # afterwards it is as it was
    assert "KeyboardInterrupt" in held.communicate(timeout=60)[1]


def test_ctrl_c_ends_a_pause(held: subprocess.Popen[str]) -> None:
    end_drawing(held)
    assert [next_line(held), next_line(held)] == ["whole", "pause"]
    held.send_signal(signal.SIGINT)
    assert next_line(held) == "interrupted"


def test_a_second_ctrl_c_does_not_wait(held: subprocess.Popen[str]) -> None:
    def pressed_again() -> bool:  # two that come at once are one
        held.send_signal(signal.SIGINT)
        return bool(select.select([held.stdout], [], [], 0.1)[0])

    wait_for(pressed_again, "it to be interrupted")
    assert next_line(held) == "interrupted"


class Presses:
    """Presses Ctrl-C before the bytecodes of these numbers, counted over all that ``draw_and_pause`` runs."""

    def __init__(self, *steps: int) -> None:
        self.steps = list(steps)
        self.count = 0

    def __enter__(self) -> Presses:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> object:
        if frame.f_code.co_filename == __file__ and frame.f_code is not draw_and_pause.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.count += 1
            if self.count in self.steps:
                self.steps.remove(self.count)
                signal.raise_signal(signal.SIGINT)
        return self._trace


def draw_and_pause() -> int:
    """How often a drawing that pauses once was interrupted, also at its end."""
    interrupted = 0
    try:
        with held_back() as pause:
            try:
                pause(0)
            except KeyboardInterrupt:
                interrupted += 1
    except KeyboardInterrupt:
        interrupted += 1
    return interrupted


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Collect none: Hypothesis hears of each collection, in bytecodes that come once and in which a Ctrl-C is lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage")
def test_no_ctrl_c_is_lost_whenever_it_comes(handler: object) -> None:
    with Presses() as presses:
        assert draw_and_pause() == 0
    for step in range(presses.count):
        with Presses(step + 1) as presses:
            try:
                interrupted = draw_and_pause()
            except KeyboardInterrupt:  # before it began, or after it ended
                interrupted = 1
        assert presses.steps == [], step
        assert interrupted == 1, step
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, step


def test_a_ctrl_c_that_another_thread_takes_ends_a_pause(handler: object) -> None:
    """As one does that arrives in the instant before the pause begins to sleep."""
    with held_back() as pause:
        thread = threading.Thread(target=lambda: (wait_for_sleep(), signal.raise_signal(signal.SIGINT)))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            pause(600)
        thread.join()


def wait_for_sleep() -> None:
    wait_for(lambda: Path("/proc/self/wchan").read_text() != "0", "the main thread to sleep")
