"""Starting and stopping trainers while others start and stop them, too."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from programs import wait_for

from learnae.adapters.local.lock import Lock, end_holder, holder
from learnae.config.sections import PeerSection
from learnae.errors import ConfigurationError, InUseError, LearnaeError, StateError
from learnae.swarm.directory import Swarm, open_manifest
from learnae.system.logs import MOST_BYTES, OLDER
from learnae.system.paths import LOCK_FILE, LOG_FILE, STATUS_FILE, peer_directory
from trainer_node import demo, lifecycle, preset_swarm, starting
from trainer_node.config import TrainerConfig, TrainerTrainSection
from trainer_node.starting import StartOptions, begin

HOLD = """
import sys, time
from pathlib import Path
from learnae.adapters.local.lock import Lock
lock = Lock(Path(sys.argv[1]))
time.sleep(600)
"""
Hold = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNAE_TRAIN__ENGINE", "numpy")
    monkeypatch.setattr(lifecycle, "_START_SECONDS", 600.0)  # however busy the machine is


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts a process that has the place of a peer."""
    started: list[subprocess.Popen[bytes]] = []

    def start(directory: Path) -> subprocess.Popen[bytes]:
        directory.mkdir(parents=True, exist_ok=True)
        started.append(subprocess.Popen([sys.executable, "-c", HOLD, str(directory / LOCK_FILE)]))
        wait_for(lambda: holder(directory / LOCK_FILE) == started[-1].pid, "the lock")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_one_that_ends_just_as_it_is_to_be_stopped_is_stopped(
    tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, kill = hold(tmp_path / "pump"), os.kill

    def too_late(pid: int, number: int) -> None:
        kill(pid, signal.SIGKILL)
        process.wait()
        kill(pid, number)

    with monkeypatch.context() as patched:
        patched.setattr(lifecycle.os, "kill", too_late)
        assert end_holder(tmp_path / "pump" / LOCK_FILE)


def test_one_that_is_started_again_at_once_was_stopped(
    tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, kill = hold(tmp_path / "pump"), os.kill

    def and_another(pid: int, number: int) -> None:
        kill(pid, number)
        process.wait()
        hold(tmp_path / "pump")

    with monkeypatch.context() as patched:
        patched.setattr(lifecycle.os, "kill", and_another)
        assert end_holder(tmp_path / "pump" / LOCK_FILE, seconds=1.0)


def test_who_starts_in_the_background_is_not_taken_for_another_who_was_faster(
    tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = peer_directory("demo-1")
    hold(place)
    (place / STATUS_FILE).touch()
    os.utime(place / STATUS_FILE, (time.time() + 60,) * 2)  # the other one works
    answers = iter([None])  # and was not there yet when we looked
    monkeypatch.setattr(lifecycle, "holder", lambda path: next(answers, holder(path)))
    with pytest.raises(InUseError, match="the trainer did not start"):
        lifecycle.detach(["start", "--demo", "--name", "demo-1"], place)
    assert "demo-1 is running; stop it first" in (place / LOG_FILE).read_text()


def test_demos_that_start_together_are_different_people(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        hold(peer_directory(f"demo-{number}"))
    monkeypatch.setattr(demo, "holder", lambda _: None)  # all seem to be free
    service = starting._demo_service(lambda: replace(TrainerConfig(), train=TrainerTrainSection(engine="numpy")))
    assert holder(peer_directory("demo-3") / LOCK_FILE) == os.getpid()
    service.work().drain()


def test_a_demo_in_the_background_goes_on_to_the_next_person(
    hold: Hold, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(peer_directory("demo-1"))
    monkeypatch.setattr(demo, "holder", lambda _: None)
    monkeypatch.setattr(lifecycle, "holder", holder)
    assert begin(StartOptions(demo=True, detach=True)) == 0
    said = capsys.readouterr().out
    pid = holder(peer_directory("demo-2") / LOCK_FILE)
    assert pid
    try:
        assert said == f"running as process {pid}; see: trainer-node status --name demo-2\n"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_person_of_the_demo_who_is_named_is_the_only_one_tried(hold: Hold) -> None:
    named = replace(TrainerConfig(), peer=PeerSection(name="demo-5"))
    assert next(demo.demo_configs(named))[1] == 5
    hold(peer_directory("demo-5"))
    with pytest.raises(InUseError, match="demo-5 is running; stop it first: trainer-node stop --name demo-5"):
        list(demo.demo_configs(named))
    for number in {1, 2, 3, 4, 5, 6, 7, 8} - {5}:
        hold(peer_directory(f"demo-{number}"))
    with pytest.raises(ConfigurationError, match="all 8 people of the demo are running"):
        list(demo.demo_configs(TrainerConfig()))


def test_two_that_need_the_swarm_of_a_preset_at_once_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, create = threading.Barrier(2), preset_swarm.create_swarm

    def slowly(manifest: object) -> Swarm:
        with pytest.raises(threading.BrokenBarrierError):
            made.wait(0.5)  # the other one does not come as far as this
        return create(manifest)  # type: ignore[arg-type]

    monkeypatch.setattr(preset_swarm, "create_swarm", slowly)
    threads = [threading.Thread(target=preset_swarm.find_or_create, args=("wrist",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (swarm,) = (tmp_path / "swarms").iterdir()
    assert open_manifest(swarm).name
    assert preset_swarm.find_or_create("wrist").directory == swarm


def test_a_home_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "swarms").touch()
    with pytest.raises(ConfigurationError, match="cannot use"):
        preset_swarm.find_or_create("wrist")


def test_a_process_in_its_place_is_an_error_of_its_own(tmp_path: Path) -> None:
    lock = Lock(tmp_path / LOCK_FILE)
    with pytest.raises(InUseError) as caught:
        lifecycle.detach(["start"], tmp_path)
    assert isinstance(caught.value, StateError)
    lock.release()


@pytest.mark.parametrize(
    ("program", "kind", "why"),
    [
        ("sys.exit('trainer-node: no data; give some')", StateError, "no data; give some"),
        ("print('trainer-node: no data'); sys.exit(78)", ConfigurationError, "no data"),
        ("sys.exit(78)", ConfigurationError, "it has said nothing"),
        ("os.kill(os.getpid(), 9)", StateError, "SIGKILL"),
    ],
)
def test_why_a_trainer_in_the_background_ended_is_its_own_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, kind: type[LearnaeError], why: str
) -> None:
    (tmp_path / LOG_FILE).write_text("what an earlier one has said\n")
    instead(program, tmp_path, monkeypatch)
    with pytest.raises(LearnaeError) as caught:
        lifecycle.detach(["start"], tmp_path)
    assert caught.type is kind
    assert caught.value.problem.startswith(f"the trainer did not start: {why}")


def test_a_full_log_becomes_the_older_one_and_is_shown_before_the_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOG_FILE).write_text("long ago\n" * (MOST_BYTES // 9 + 1))
    (tmp_path / (LOG_FILE + OLDER)).write_text("longer ago\n")
    instead("sys.exit('trainer-node: ' + os.environ['LEARNAE_LOG_FILE'])", tmp_path, monkeypatch)
    with pytest.raises(StateError, match=f"did not start: {tmp_path / LOG_FILE}"):
        lifecycle.detach(["start"], tmp_path)
    assert (tmp_path / LOG_FILE).read_text() == f"trainer-node: {tmp_path / LOG_FILE}\n"
    assert lifecycle.last_lines(tmp_path, 3) == f"long ago\nlong ago\ntrainer-node: {tmp_path / LOG_FILE}"
    assert "longer" not in lifecycle.last_lines(tmp_path, 10**6)


def test_one_that_takes_long_is_not_said_to_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead("open('pid', 'w').write(f'{os.getpid()}.'); time.sleep(600)", tmp_path, monkeypatch)
    with pytest.raises(StateError, match=r"process \d+ is not at work after 0 s, and goes on starting"):
        lifecycle.detach(["start"], tmp_path, seconds=0.1)
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and pid.read_text().endswith("."), "it to begin")
    os.kill(int(pid.read_text()[:-1]), signal.SIGKILL)


def instead(program: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``program`` run where ``python -m trainer_node`` would, from now on."""
    (directory / "trainer_node.py").write_text(f"import os, sys, time\n{program}\n")
    monkeypatch.chdir(directory)
    monkeypatch.delenv("PYTHONPATH", raising=False)
