"""Ctrl-C while a program begins ends it at once, without a traceback; later it is an exception as ever, or waits."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

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
from learnae.system.signals import held_back

with held_back() as heard:
    try:
        print("drawing", flush=True)
        sys.stdin.readline()
        print("whole", flush=True)
        with heard():
            print("pause", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
time.sleep(60)
"""


@pytest.fixture
def held() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", HELD], env=clean_environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "drawing\n"
    yield process
    process.kill()
    process.communicate()


def end_drawing(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_ctrl_c_waits_for_a_pause(held: subprocess.Popen[str]) -> None:
    held.send_signal(signal.SIGINT)
    wait_for(lambda: "\nShdPnd:\t0000000000000000\n" in Path(f"/proc/{held.pid}/status").read_text(), "it to come")
    end_drawing(held)
    assert [next_line(held), next_line(held)] == ["whole", "interrupted"]
    held.send_signal(signal.SIGINT)  # afterwards it is as it was
    assert "KeyboardInterrupt" in held.communicate(timeout=30)[1]


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
