"""``scripts/private-tangle``: what it writes, and the life of the nodes where Hornet is here."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import free_ports
from programs import Finished, assert_refused, clean_environment, finish, wait_for
from tangles import SCRIPT, HornetTangle, script

from learnae.adapters.iota.node import Node


def run(*arguments: object, **environment: str) -> Finished:
    ours = {name: value for name, value in os.environ.items() if name == "LEARNAE_HORNET"}
    return finish(sys.executable, SCRIPT, *arguments, env=clean_environment(**{**ours, **environment}))


def fake(directory: Path, text: str) -> str:
    """A program of that name that is another one."""
    path = directory / "hornet"
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return str(path)


def test_without_hornet_it_says_what_to_get(tmp_path: Path) -> None:
    done = run("create", tmp_path / "tangle", LEARNAE_HORNET="no-such-hornet")
    assert_refused(done, 78, "Hornet 0.5.6 is not here", "gohornet/hornet", "LEARNAE_HORNET")
    assert not (tmp_path / "tangle").exists()


@pytest.mark.parametrize("said", ["HORNET 1.2.4", "HORNET 0.5.10", ""])
def test_another_version_is_refused(tmp_path: Path, said: str) -> None:
    assert_refused(run("create", tmp_path / "tangle", LEARNAE_HORNET=fake(tmp_path, said)), 78, "0.5.6")


def test_where_there_is_no_tangle_it_says_how_to_make_one(tmp_path: Path) -> None:
    for verb in ("start", "status", "stop", "watch"):
        assert_refused(run(verb, tmp_path), 78, "private-tangle create")


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    assert run("create", tmp_path).returncode == 78
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_everything_listens_on_loopback_only(tmp_path: Path) -> None:
    plan = script.Plan(2, 14265, 10, 16, 9, "A" * 81, 0)
    nodes = plan.all(tmp_path)
    texts = [json.dumps(script.configuration(plan, node)) for node in nodes]
    for text in texts:
        assert "0.0.0.0" not in text
        assert text.count('"bindAddress"') == text.count('"bindAddress": "127.0.0.1:') == 5
    first, second = (json.loads(text) for text in texts)
    assert "Coordinator" in first["node"]["enablePlugins"]
    assert "Coordinator" not in second["node"]["enablePlugins"]
    assert first["coordinator"] == second["coordinator"]
    assert first["snapshots"]["pruning"]["delay"] * plan.interval >= 2 * 86_400, "longer than a swarm's horizon"
    assert plan.ends == 10 * 2**16


def test_a_node_that_ends_just_as_it_is_to_be_stopped_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, kill = subprocess.Popen(["sleep", "600"], cwd=tmp_path), os.kill
    node = script.Node(tmp_path, 14265, True)
    (tmp_path / "pid").write_text(str(process.pid))
    assert node.pid() == process.pid

    def too_late(pid: int, number: int) -> None:
        kill(pid, signal.SIGKILL)
        process.wait()
        kill(pid, number)

    with monkeypatch.context() as patched:
        patched.setattr(script.os, "kill", too_late)
        script.end(node)
    assert node.pid() is None
    assert not (tmp_path / "pid").exists()


@pytest.mark.slow
@pytest.mark.engine("hornet")
def test_the_life_of_a_tangle(tmp_path: Path) -> None:
    tangle = tmp_path / "tangle"
    port = free_ports(20)
    done = run("create", tangle, "--nodes", 2, "--port", port, "--interval", 1, "--depth", 8, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [node["state"] for node in said["nodes"]] == ["stopped", "stopped"]
    assert (tangle / "node-1" / "seed").stat().st_mode & 0o777 == 0o600
    assert not (tangle / "node-2" / "seed").exists()
    try:
        for _ in range(2):  # bootstrapped, then as it was left; the second start finds all running
            started = json.loads(run("start", tangle, "--json").stdout)
            assert [node["state"] for node in started["nodes"]] == ["synced", "synced"]
            assert [node["neighbours"] for node in started["nodes"]] == [1, 1]
        milestone = started["nodes"][0]["milestone"]
        stopped = json.loads(run("stop", tangle, "--json").stdout)
        assert [node["state"] for node in stopped["nodes"]] == ["stopped", "stopped"]
        again = json.loads(run("start", tangle, "--json").stdout)
        assert again["nodes"][0]["milestone"] >= milestone
        assert "synced" in run("status", tangle).stdout
    finally:
        assert run("stop", tangle).returncode == 0


@pytest.mark.slow
@pytest.mark.engine("hornet")
def test_a_message_reaches_the_second_node_and_a_killed_follower_recovers(tmp_path: Path) -> None:
    with HornetTangle(tmp_path / "tangle") as tangle:
        tangle.start_all()
        one, other = (Node(node.url) for node in tangle.nodes)
        tag = "LEARNAE9TEST9SECOND9NODE9AA"
        name = one.attach(one.propose(b"first", tag, tangle.plan.coordinator[:-1] + "9"))
        wait_for(lambda: other.find_tag(tag) == [name], "the message at the second node")
        tangle.kill(2)
        missed = one.attach(one.propose(b"second", tag, tangle.plan.coordinator[:-1] + "9"))
        tangle.start()
        wait_for(lambda: set(other.find_tag(tag)) == {name, missed}, "what it missed")


@pytest.mark.slow
@pytest.mark.engine("hornet")
def test_what_dies_is_started_again_while_it_is_watched(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "watch", tmp_path / "tangle"]
    with HornetTangle(tmp_path / "tangle") as tangle, subprocess.Popen(command, stdout=subprocess.DEVNULL) as watcher:
        try:
            wait_for(lambda: all(node.ask() for node in tangle.nodes), "both nodes")
            victim = tangle.nodes[1].pid()
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: tangle.nodes[1].pid() not in (None, victim), "another follower")
            wait_for(tangle.nodes[1].ask, "its API")
        finally:
            watcher.terminate()
            assert watcher.wait(60) == 0
    wait_for(lambda: not any(node.pid() for node in tangle.nodes), "both nodes to end")


@pytest.mark.parametrize(
    ("message", "is_lost"),
    [
        ("previous milestone does not match latest milestone in database. previous: 4, database: 3", True),
        ("database is tainted. delete the coordinator database and start again with a local snapshot", True),
        ("latest milestone (7) not found in database. database is corrupt", True),
        ("listen tcp 127.0.0.1:14265: bind: address already in use", False),
    ],
)
def test_what_a_node_ended_with_is_said_without_its_stack(message: str, is_lost: bool) -> None:
    stack = "".join(f"main.one{number}({{0x1f, 0x0}})\n\t/src/main.go:{number} +0x18\n" for number in range(20))
    log = f"2026\tINFO\tNode\tall is well\n2026\tPANIC\tCoordinator\t{message}\n{stack}panic: {message}\n\n{stack}"
    reason = script.why_it_ended(log)
    assert reason == f"Coordinator: {message}"
    assert bool(script.LOST.search(reason)) == is_lost
    assert script.why_it_ended(f"{stack}panic: {message}\n\n{stack}") == message


@pytest.mark.slow
@pytest.mark.engine("hornet")
def test_a_coordinator_that_is_killed_again_and_again_says_that_its_tangle_is_lost(tmp_path: Path) -> None:
    directory = tmp_path / "tangle"
    with HornetTangle(directory) as tangle:
        for _ in range(5):
            done = run("start", directory, "--node", 1)
            if done.returncode:
                break
            os.kill(tangle.nodes[0].pid(), signal.SIGKILL)
            wait_for(lambda: tangle.nodes[0].pid() is None, "its end")
        watched = run("watch", directory)
    for ended in (done, watched):
        assert_refused(ended, 75, f"delete {directory} and create the Tangle anew")
    assert "goroutine" not in done.stderr
    assert ".go:" not in done.stderr
