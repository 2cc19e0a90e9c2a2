"""Versions as a user meets them: listed, exported, gone back to."""

import json
from pathlib import Path

import numpy as np
import pytest
from programs import Programs, assert_refused

from learnae.peer.state import PeerState
from learnae.runtime.version_store import read_version

CONFIGURATION, TRY_AGAIN = 78, 75
NAME = "demo-1"


@pytest.fixture
def rested(tmp_path: Path) -> Programs:
    """A machine on which the demo has learnt, and was stopped."""
    with Programs(tmp_path) as programs:
        process = programs.start("trainer_node", "start", "--demo")
        programs.wait_for_steps(NAME, process, more_than=26)
        process.stop()
        return programs


def directory(programs: Programs) -> Path:
    return programs.home / "peers" / NAME


def test_versions_are_listed_for_people_and_machines(rested: Programs) -> None:
    found = rested.answer("learnae", "versions")
    assert [(one["peer"], one["version"]) for one in found] == [(NAME, "best"), (NAME, "v1")]
    assert found[1]["steps"] > 26
    assert 0 <= found[0]["metrics"]["accuracy"] <= 1
    assert rested.answer("learnae", "versions", "--peer", NAME) == found
    assert_refused(rested.run("learnae", "versions", "--peer", "nobody"), CONFIGURATION, "no peer 'nobody'")
    said = rested.run("learnae", "versions").stdout
    for word in ("best", "v1", NAME, "accuracy", f"{found[1]['steps']:,}"):
        assert word in said


def test_a_damaged_version_is_named_and_the_others_are_shown(rested: Programs) -> None:
    (directory(rested) / "versions" / "best").write_bytes(b"\0" * 100)
    done = rested.run("learnae", "versions", "--json")
    assert done.returncode == 1
    assert "versions/best: a version is damaged" in done.stderr
    assert [one["version"] for one in json.loads(done.stdout)] == ["v1"]


@pytest.mark.modules("safetensors")
def test_a_version_is_exported(rested: Programs, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    for options in ((), ("--peer", NAME)):
        rested.answer("learnae", "export", tmp_path / "model.safetensors", "--version", "best", *options)
        bias = load_file(tmp_path / "model.safetensors")["layer.4.bias"]
        assert bias.tolist() == read_version(directory(rested), "best").vector[-7:].tolist()
    done = rested.run("learnae", "export", tmp_path / "model.safetensors", "--version", "v9")
    assert_refused(done, CONFIGURATION, "keeps no version v9", "learnae versions")


def test_a_page_shows_what_the_machine_knows_of_the_swarm(rested: Programs, tmp_path: Path) -> None:
    made = rested.answer("learnae", "report", "--output", tmp_path / "a" / "b", "--peer", NAME)
    page = Path(made["report"]).read_text()
    for words in (NAME, "first, best and last accuracy", "Versions kept here", "bytes sent", "trainer"):
        assert words in page
    assert Path(made["report"]).stat().st_mode & 0o777 == 0o600
    assert made["peers"] == 1
    table = rested.answer("learnae", "export-metrics", "--csv", tmp_path / "figures.csv", "--peer", NAME)
    header, *rows = (tmp_path / "figures.csv").read_text().splitlines()
    assert (header.split(",")[:2], len(rows)) == (["time", "peer"], table["points"])
    assert rested.answer("learnae", "export-metrics", "--tensorboard", tmp_path / "runs")["points"] == table["points"]
    assert len(list((tmp_path / "runs").glob(f"{NAME}-*/*tfevents*"))) == 1
    (directory(rested) / "figures").unlink()  # then from what it has published since its last checkpoint
    again = rested.answer("learnae", "export-metrics", "--csv", tmp_path / "figures.csv", "--peer", NAME)
    assert 0 < again["points"] == len((tmp_path / "figures.csv").read_text().splitlines()) - 1
    done = rested.run("learnae", "export-metrics", "--csv", tmp_path / "figures.csv", "--peer", "ann")
    assert_refused(done, CONFIGURATION, "nothing is known here of peer 'ann' over time")
    assert_refused(rested.run("learnae", "report", "--peer", "ann"), CONFIGURATION, "no peer 'ann'")


def test_a_peer_goes_back_to_a_version_and_learns_on_from_there(rested: Programs) -> None:
    kept = read_version(directory(rested), "v1")
    process = rested.start("trainer_node", "start", "--demo")
    rested.wait_for_steps(NAME, process, more_than=kept.steps)
    done = rested.run("learnae", "rollback", "v1")
    assert_refused(done, TRY_AGAIN, f"in use by process {process.pid}")
    process.stop()
    assert rested.answer("learnae", "rollback", "v1")["peer"] == NAME
    state = PeerState.read(directory(rested) / "state")
    assert np.array_equal(state.weights, kept.vector)
    again = rested.start("trainer_node", "start", "--demo")
    rested.wait_for_steps(NAME, again, more_than=state.steps)
    again.stop()


def test_going_back_to_what_is_not_there_is_refused(rested: Programs) -> None:
    assert_refused(rested.run("learnae", "rollback", "v9"), CONFIGURATION, "keeps no version v9")
    assert_refused(rested.run("learnae", "rollback", "../state"), CONFIGURATION, "is no version")
    assert_refused(rested.run("learnae", "rollback", "v1", "--peer", "nobody"), CONFIGURATION, "no peer 'nobody'")


def test_without_any_version_the_first_step_is_said(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        assert_refused(programs.run("learnae", "rollback", "best"), CONFIGURATION, "no peer here keeps versions")
        assert programs.answer("learnae", "versions") == []
