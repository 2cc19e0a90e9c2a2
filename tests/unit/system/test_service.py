"""The run loop as systemd and people meet it: real processes, real signals, a real notify socket."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import PATIENCE, clean_environment

from learnae.system.service import Notifier, Service, Work

PROGRAM = """
import signal, sys, threading, time
from learnae.errors import ConfigurationError
from learnae.system.service import Service, Work

mode, pause = sys.argv[1], float(sys.argv[2])
steps = 0

def say(*words):
    print(*words, flush=True)

def hang():
    while True:
        time.sleep(0.01)  # a signal that arrives just before a sleep does not end it

def step():
    global steps
    steps += 1
    say("step", steps)
    if mode == "slow":
        sys.stdin.readline()
        say("stepped")
    if mode == "hang" and steps == 2:
        say("hanging with", threading.active_count(), "thread")
        while not service._stopping:
            time.sleep(0.01)
        say("told to stop")
        hang()
    if mode == "timed":
        say("at", time.monotonic())
    return pause

def drain():
    say("drain")
    if mode == "hanging drain":
        hang()

def reload():
    say("reload")
    if mode == "bad reload":
        raise ConfigurationError("publish.every is 'x'")

service = Service(Work(step, drain, reload, lambda: f"steps {steps}"), longest_sleep=float(sys.argv[3]))
status = service.run()
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
say("over")
sys.exit(status)
"""


class Daemon:
    """A service in another process; what it says comes line by line."""

    def __init__(self, mode: str, pause: float, longest_sleep: float, notify: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, mode, str(pause), str(longest_sleep)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(**({"NOTIFY_SOCKET": notify} if notify else {})),
        )

    def line(self) -> str:
        """What it says next; nothing if it has been silent for too long, and is ended."""
        impatience = threading.Timer(PATIENCE, self.process.kill)
        impatience.start()
        try:
            return self.process.stdout.readline().strip()
        finally:
            impatience.cancel()

    def rest(self) -> list[str]:
        """What it said until it ended."""
        return self.process.communicate(timeout=PATIENCE)[0].splitlines()

    def step(self) -> None:
        """End a slow step, after the signals that have been sent."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


Start = Callable[..., Daemon]


@pytest.fixture
def start() -> Iterator[Start]:
    daemons: list[Daemon] = []

    def run(mode: str = "", pause: float = 600.0, longest_sleep: float = 600.0, notify: str = "") -> Daemon:
        daemons.append(Daemon(mode, pause, longest_sleep, notify))
        return daemons[-1]

    yield run
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.communicate()


STOPPING = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@STOPPING
def test_the_first_signal_ends_a_long_sleep_at_once_and_drains_once(start: Start, number: signal.Signals) -> None:
    daemon = start(pause=600.0, longest_sleep=600.0)
    assert daemon.line() == "step 1"
    daemon.signal(number)
    assert daemon.rest() == ["drain", "over"]  # long before the sleep would have ended
    assert daemon.process.returncode == 0


@STOPPING
def test_the_first_signal_lets_the_work_at_hand_end(start: Start, number: signal.Signals) -> None:
    daemon = start("slow", pause=0.0)
    assert daemon.line() == "step 1"
    daemon.signal(number)
    daemon.step()
    assert daemon.rest() == ["stepped", "drain", "over"]
    assert daemon.process.returncode == 0


@STOPPING
def test_the_second_signal_cuts_a_hanging_step(start: Start, number: signal.Signals) -> None:
    daemon = start("hang", pause=0.0)
    assert [daemon.line() for _ in range(3)][:2] == ["step 1", "step 2"]
    daemon.signal(number)
    assert daemon.line() == "told to stop"  # after the step
    daemon.signal(number)
    assert daemon.rest() == []
    assert daemon.process.returncode == 130


def test_the_second_signal_cuts_a_hanging_drain(start: Start) -> None:
    daemon = start("hanging drain")
    assert daemon.line() == "step 1"
    daemon.signal(signal.SIGTERM)
    assert daemon.line() == "drain"
    daemon.signal(signal.SIGINT)  # a user who has lost patience with systemctl stop
    assert daemon.rest() == []
    assert daemon.process.returncode == 130


def test_sighup_reloads_at_once_and_the_work_goes_on(start: Start) -> None:
    daemon = start(pause=600.0, longest_sleep=60.0)
    assert daemon.line() == "step 1"
    for turn in (2, 3):
        daemon.signal(signal.SIGHUP)
        assert [daemon.line(), daemon.line()] == ["reload", f"step {turn}"]
    daemon.signal(signal.SIGTERM)
    assert daemon.rest() == ["drain", "over"]


def test_sighup_in_a_step_reloads_after_it(start: Start) -> None:
    daemon = start("slow", pause=0.0)
    assert daemon.line() == "step 1"
    daemon.signal(signal.SIGHUP)
    daemon.step()
    assert [daemon.line() for _ in range(3)] == ["stepped", "reload", "step 2"]
    daemon.signal(signal.SIGTERM)
    daemon.step()
    assert daemon.rest() == ["stepped", "drain", "over"]


def test_a_reload_that_fails_stops_nobody(start: Start) -> None:
    daemon = start("bad reload")
    assert daemon.line() == "step 1"
    daemon.signal(signal.SIGHUP)
    assert [daemon.line(), daemon.line()] == ["reload", "step 2"]
    daemon.signal(signal.SIGTERM)
    assert daemon.rest()[-2:] == ["drain", "over"]  # a busy machine may take a step more before it hears
    assert daemon.process.returncode == 0


def test_a_long_pause_is_slept_in_parts_but_whole(start: Start) -> None:
    daemon = start("timed", pause=0.5, longest_sleep=0.1)
    said = [daemon.line() for _ in range(4)]
    assert said[::2] == ["step 1", "step 2"]
    begun, ended = (float(line.removeprefix("at ")) for line in said[1::2])
    assert ended - begun > 0.4


# -- systemd's side


class Manager:
    """systemd's end of the notify socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def next(self, seconds: float = PATIENCE) -> str | None:
        """The next datagram; None if none came."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return None

    def next_news(self) -> str | None:
        """The next datagram that does not only feed the watchdog, as a sleep does when it ends."""
        while (heard := self.next()) is not None and heard.startswith("WATCHDOG=1"):
            pass
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@learnae-test-{secrets.token_hex(8)}"
    found = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield found
    found.close()


def test_systemd_hears_the_whole_life_of_a_service(start: Start, manager: Manager) -> None:
    daemon = start(pause=600.0, notify=manager.address)
    assert manager.next() == "READY=1"
    assert manager.next() == "WATCHDOG=1\nSTATUS=steps 1"
    daemon.signal(signal.SIGHUP)
    reloading = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.next_news() or "")
    assert reloading is not None
    assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(reloading[1]) / 1e6 < PATIENCE
    assert manager.next() == "READY=1"
    assert manager.next() == "WATCHDOG=1\nSTATUS=steps 2"
    daemon.signal(signal.SIGTERM)
    assert manager.next_news() == "STOPPING=1"
    daemon.process.wait(PATIENCE)
    assert manager.next(0.05) is None


def test_the_watchdog_is_fed_while_the_loop_sleeps(start: Start, manager: Manager) -> None:
    start(pause=600.0, longest_sleep=0.05, notify=manager.address)
    assert manager.next() == "READY=1"
    for _ in range(5):
        assert manager.next() == "WATCHDOG=1\nSTATUS=steps 1"


def test_a_hung_step_does_not_feed_the_watchdog(start: Start, manager: Manager) -> None:
    daemon = start("hang", pause=0.0, longest_sleep=0.02, notify=manager.address)
    assert [daemon.line() for _ in range(3)] == ["step 1", "step 2", "hanging with 1 thread"]
    assert [manager.next(), manager.next()] == ["READY=1", "WATCHDOG=1\nSTATUS=steps 1"]
    assert manager.next(0.4) is None


def test_without_systemd_nothing_is_sent() -> None:
    Notifier({}).send("READY=1")


def test_without_systemd_no_summary_is_made() -> None:
    made = []

    def step() -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    assert Service(Work(step, lambda: None, lambda: None, lambda: made.append(1) or ""), Notifier({})).run() == 0
    assert made == []


def test_a_systemd_that_was_away_for_a_moment_is_told_again(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notifier.send("READY=1")  # not heard by any process
    manager = Manager(str(tmp_path / "notify"))
    for _ in range(2):
        notifier.send("WATCHDOG=1\nSTATUS=well")
    assert manager.next() == "WATCHDOG=1\nSTATUS=well"
    assert manager.next() == "READY=1", "else the start, or the reload, would never end"
    assert manager.next() == "WATCHDOG=1\nSTATUS=well"
    manager.close()
    (tmp_path / "notify").unlink(missing_ok=True)
    notifier.send("RELOADING=1\nMONOTONIC_USEC=1")
    notifier.send("READY=1")
    manager = Manager(str(tmp_path / "notify"))
    notifier.send("WATCHDOG=1")
    assert [manager.next(), manager.next()] == ["WATCHDOG=1", "READY=1"]
    manager.close()
    notifier.send("STOPPING=1")  # it went away: nothing happens


def test_a_systemd_that_reads_nothing_holds_nothing_up(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    sent = 100 + 2 * int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for number in range(sent):  # a socket that waited would hang here
        notifier.send(f"WATCHDOG=1\nSTATUS={number}")
    heard = 0
    while manager.next(0.05) is not None:
        heard += 1
    assert 0 < heard < sent
    notifier.send("WATCHDOG=1")
    assert manager.next() == "WATCHDOG=1"
