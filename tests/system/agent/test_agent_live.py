"""An agent on a board as its owner meets it: real processes, a sensor that comes and goes, a disk that is full."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canary import leaks, patterns, private_readings
from disks import fill, small_disk
from messages_here import seqs_in
from programs import Child, Programs, assert_refused, wait_for
from sensors import Sysfs, make_swarm
from visitors import Visitor

from agent.ingestion.buffer import SampleBuffer
from learnae.ports import Samples
from learnae.runtime.observer import Observer
from learnae.system.service import EXIT_CONFIGURATION

pytestmark = pytest.mark.slow


@pytest.fixture
def sysfs(tmp_path: Path) -> Iterator[Sysfs]:
    with Sysfs(tmp_path / "sys") as plugged:
        yield plugged


def configure(programs: Programs, text: str) -> Path:
    config = programs.config / "learnae" / "agent.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    return config


def source_of(programs: Programs, name: str = "source") -> dict[str, Any]:
    found: dict[str, Any] = programs.status("agent").get("sources", {}).get(name, {})
    return found


def recorded(state: Path, seal: Any = None) -> Samples:
    buffer = SampleBuffer(state / "samples.db", 6, 10**7, 10**9, seal)
    parts = [chunk.samples for chunk in buffer.after(0, 10**6)]
    buffer.close()
    return Samples.joined(parts)


def stop(process: Child) -> str:
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    return said


def test_an_unplugged_sensor_is_a_gap_and_the_other_source_goes_on(programs: Programs, sysfs: Sysfs) -> None:
    make_swarm(programs.home)
    second = Sysfs(sysfs.root.parent / "sys2")
    configure(programs, sysfs.section("sources.a") + "holdout = 0.0\n" + second.section("sources.b"))
    agent = programs.start("agent", "run")
    programs.wait_for_steps("agent", agent)
    sysfs.unplug()
    wait_for(lambda: source_of(programs, "a").get("state") == "failing", "the agent to notice")
    assert str(sysfs.root) in source_of(programs, "a")["error"]
    before = source_of(programs, "b")["samples"]
    wait_for(lambda: source_of(programs, "b")["samples"] > before + 20, "the other source to go on")
    sysfs.plug(7)
    count = source_of(programs, "a")["samples"]
    wait_for(lambda: source_of(programs, "a")["samples"] > count + 20, "the sensor to be back")
    said = stop(agent)
    assert said.count("source a: ") <= 3
    assert "source a is back" in said


def test_an_agent_goes_on_with_its_old_readings_after_a_restart(programs: Programs, sysfs: Sysfs) -> None:
    make_swarm(programs.home)
    configure(programs, sysfs.section() + "holdout = 0.0\n")
    agent = programs.start("agent", "run")
    wait_for(lambda: programs.status("agent").get("training_rows", 0) > 20, "rows")
    stop(agent)
    count = len(recorded(programs.home / "peers" / "agent").time)
    results = programs.answer("agent", "results", "--count", 1000)
    shutil.rmtree(sysfs.root / "iio:device0")
    agent = programs.start("agent", "run")
    status = programs.wait_for_steps("agent", agent, more_than=programs.status("agent")["steps"])
    assert status["training_rows"] > 20
    assert status["buffer"]["readings"] == count
    assert status["inference"]["count"] == 0, "old windows are not judged again"
    stop(agent)
    assert len(recorded(programs.home / "peers" / "agent").time) == count
    assert programs.answer("agent", "results", "--count", 1000) == results


def test_people_see_what_the_model_says_without_any_broker(programs: Programs, sysfs: Sysfs) -> None:
    make_swarm(programs.home)
    configure(programs, sysfs.section() + "holdout = 0.0\n")
    report = programs.answer("agent", "check")
    assert report["sources"]["source"]["state"] == "working"
    assert report["results"] == []
    agent = programs.start("agent", "run")
    wait_for(lambda: programs.status("agent").get("inference", {}).get("count", 0) > 3, "results")
    results = programs.answer("agent", "results", "-n", 3)
    assert len(results) == 3
    for result in results:
        assert result["label"] is None
        assert result["score"] >= 0
    times = [result["time"] for result in results]
    assert times == sorted(set(times))
    stop(agent)
    assert len(programs.run("agent", "results", "-n", "2").stdout.splitlines()) == 2
    assert len(programs.answer("agent", "check")["results"]) == 3


def test_labels_that_a_person_gives_make_rows_and_their_end_stops_them(programs: Programs, sysfs: Sysfs) -> None:
    make_swarm(programs.home, labelled=True)
    configure(programs, sysfs.section() + 'holdout = 0.0\n[dashboard]\nlisten = "127.0.0.1:0"\n')
    assert_refused(
        programs.run("agent", "label", "busy"), EXIT_CONFIGURATION, "learnae-agent: ", "no agent at", "start it first"
    )
    agent = programs.start("agent", "run")
    wait_for(lambda: programs.status("agent").get("buffer", {}).get("readings", 0) > 20, "readings without a label")
    assert programs.status("agent")["training_rows"] == 0
    assert_refused(
        programs.run("agent", "label", "lazy"), EXIT_CONFIGURATION, "learnae-agent: ", "'lazy'", "idle, busy"
    )
    assert programs.answer("agent", "label", "busy") == {"label": "busy", "seconds": None}
    programs.wait_for_steps("agent", agent)
    wait_for(lambda: programs.status("agent")["inference"]["label"] in ("idle", "busy"), "results")
    assert 0.5 <= programs.status("agent")["inference"]["score"] <= 1
    page = Visitor(programs)
    assert page.state()["peer"]["classes"] == ["idle", "busy"]
    assert page.state()["intake"]["sources"]
    assert page.post("api/label", {"label": ""}) == {"label": None, "seconds": None}
    count = source_of(programs)["samples"]
    wait_for(lambda: source_of(programs)["samples"] > count + 100, "unlabelled readings")
    stop(agent)
    label = recorded(programs.home / "peers" / "agent").label
    assert (label[0], label[-1], set(label)) == (-1, -1, {-1, 1})


def test_a_board_that_is_too_small_only_looks_on(programs: Programs, sysfs: Sysfs) -> None:
    make_swarm(programs.home)
    configure(programs, sysfs.section() + "holdout = 0.0\n[resources]\nmemory = 1_000_000\n")
    agent = programs.start("agent", "run")
    wait_for(lambda: programs.status("agent").get("unlabelled", 0) > 10, "windows")
    said = stop(agent)
    status = programs.status("agent")
    assert (status["steps"], status["training_rows"]) == (0, 0)
    assert "resources.memory is 1000000" in status["only_summaries"]
    assert "does not train" in said


def test_a_key_from_systemd_seals_what_is_on_the_disk(programs: Programs, tmp_path: Path) -> None:
    readings = private_readings(1, 100)
    values, planted = [f"{value:.9f}" for value in readings.ravel()], patterns(readings)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "buffer-key").write_bytes(os.urandom(32))
    (credentials / "buffer-key").chmod(0o440)
    make_swarm(programs.home)
    state = programs.home / "peers" / "agent"
    found = {}
    with Sysfs(tmp_path / "sys", values) as sysfs:
        for key in ("", '[buffer]\nkey = "buffer-key"\n'):
            shutil.rmtree(state, ignore_errors=True)
            configure(programs, sysfs.section() + key)
            agent = programs.start("agent", "run", environment={"CREDENTIALS_DIRECTORY": str(credentials)})
            wait_for(lambda: programs.status("agent").get("buffer", {}).get("readings", 0) > 20, "readings")
            stop(agent)
            found[bool(key)] = {name for name, _ in leaks(state, planted)}
    assert found == {False: {"samples.db"}, True: set()}, "the search itself must be able to find them"
    refused = programs.run("agent", "run", environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert_refused(refused, EXIT_CONFIGURATION, "learnae-agent: ", "buffer.key", "buffer-key")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as found:
        yield found


def test_a_full_disk_costs_nothing_but_patience(programs: Programs, sysfs: Sysfs, disk: Path) -> None:
    swarm = make_swarm(programs.home)
    state = disk / "agent"
    configure(programs, f'[peer]\nstate = "{state}"\n{sysfs.section()}holdout = 0.0\n')
    agent = programs.start("agent", "run")
    observer = Observer(swarm)
    wait_for(lambda: observer.refresh() > 5, "the agent to train")
    filler, full = fill(disk), time.time()
    wait_for(lambda: "takes no samples" in agent.log, "the agent to notice")
    wait_for(lambda: "NotWrittenError" in agent.log, "the peer to notice")
    turns = sysfs.turns
    wait_for(lambda: sysfs.turns > turns + 100, "a second of values that the disk cannot take")
    assert agent.poll() is None, agent.log
    free = time.time()
    filler.unlink()
    wait_for(lambda: "takes samples again" in agent.log, "the agent to go on")
    wait_for(lambda: "the disk takes it again: publishing" in agent.log, "the peer to go on")
    text = stop(agent)
    assert text.count("takes no samples") == 1
    times = recorded(state).time
    assert ((full < times) & (times < free)).sum() > 20, "what came while the disk was full waited in memory"
    seqs = seqs_in(swarm)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert json.loads((state / "status.json").read_text())["buffer"]["lost"] == 0
