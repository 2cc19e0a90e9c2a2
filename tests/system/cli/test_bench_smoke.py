"""The benchmark runs and writes what its readers expect; quick figures mean nothing."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nightly import TORCH_PYTHON, how_many
from programs import succeed

ROOT = Path(__file__).parents[3]
CHECKED = ("verify and attach", "merging", "frame bytes", "replica memory", "all bytes", "all memory", "accuracy lost")

Report = dict[str, Any]

nightly = pytest.mark.skipif(not how_many(0, 1), reason="takes most of a minute: make nightly")


def run(race: str, out: Path) -> tuple[str, Report]:
    """A quick run's output and report."""
    command = (sys.executable, "-m", "bench", race, "--quick", "--out", out)
    return succeed(*command, cwd=ROOT).stdout, json.loads((out / f"{race}.json").read_text())


@pytest.fixture
def report(tmp_path: Path) -> Callable[[str], Report]:
    return lambda race: run(race, tmp_path)[1]


def assert_checks_between(report: Report, *bounds: tuple[str, float, float]) -> None:
    checks = {check["name"]: check["value"] for check in report["checks"]}
    assert len(checks) >= len(bounds)
    for name, low, high in bounds:
        assert any(name in full and low < value < high for full, value in checks.items()), checks


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run("core", tmp_path_factory.mktemp("bench"))


def test_every_check_is_there_with_value_bound_and_verdict(finished):
    output, report = finished

    for start in CHECKED:
        assert any(start in check["name"] for check in report["checks"]), f"no check of {start}"
    for check in report["checks"]:
        assert isinstance(check["name"], str)
        assert isinstance(check["value"], float)
        assert isinstance(check["bound"], float)
        above = check["value"] > check["bound"]
        expected = not above if check["comparison"] == "at most" else above or check["value"] == check["bound"]
        assert check["holds"] is expected
    failed = [check["name"] for check in report["checks"] if not check["holds"]]
    assert f"{len(failed)} of {len(report['checks'])} do not hold" in output if failed else "hold" in output


def test_the_report_says_where_it_was_measured(finished):
    _, report = finished

    assert report["race"] == "core"
    assert report["quick"] is True
    assert report["seconds"] > 0
    for name in ("machine", "system", "python", "numpy", "learnae"):
        assert isinstance(report[name], str)
        assert report[name]
    assert all(figure["value"] > 0 for figure in report["figures"])


def test_the_store_is_compared_with_files_and_gives_room_back(report):
    found = report("store")
    assert_checks_between(found, ("write", 0, 1000), ("faster", 0.1, 10_000), ("on disk", 1, 10), ("forgetting", 1, 10))
    assert len([figure for figure in found["figures"] if figure["value"] > 0]) == 12


@pytest.mark.engine("mosquitto")
def test_the_race_over_a_broker_measures_its_traffic(report):
    (check,) = report("mqtt")["checks"]
    assert check["bound"] == 1.3
    assert check["value"] > 0.5


@nightly
@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.modules("safetensors")
def test_what_age_costs_is_measured_in_simulations_and_in_processes(report):
    found = report("age")
    assert_checks_between(
        found,
        ("alone on a core trains", 0, 101),
        ("newcomer over MQTT", 0, 600),
        ("disk of a machine", 0, 30),
        ("files of a machine", 2, 200),
        ("wrong answers", -1, 1),
        ("learnae peers", -60, 60),
        ("restarts trains again", 0, 600),
        ("newcomer has caught up", 0, 600),
        ("settled swarm's bytes", 0, 100),
        ("20 rows of 1 class", -100, 100),
        ("newcomer, B", 0, 100),
        ("returner, CPU s", 0, 100),
        ("memory of a peer", 0, 100),
        ("CPU of a tick", 0, 100),
    )
    figures = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert figures["2 peers: settled"] == 2


@pytest.mark.slow
@pytest.mark.modules("ai_edge_litert")
def test_an_agent_is_measured_with_all_that_it_has(report):
    found = report("agent")
    assert len(found["checks"]) == 3
    assert_checks_between(found, ("memory", 20, 500), ("CPU", 0, 100), ("start", 0, 600))


@nightly
@pytest.mark.slow
@pytest.mark.engine("chromium")
@pytest.mark.modules("ai_edge_litert")
def test_what_the_page_costs_is_measured(report):
    found = report("dashboard")
    assert_checks_between(
        found,
        ("memory that the page adds", -5, 20),
        ("CPU that a viewer adds", -50, 100),
        ("page load, 8 live peers", 0, 60),
        ("until a new update is in the page", 0, 60),
        ("bytes of the page", 1000, 300_001),
        ("of the browser's thread", 0, 100),
    )


@nightly
@pytest.mark.slow
@pytest.mark.modules("keras", "jax")
def test_loops_of_ones_own_are_held_against_stock_trainers(report):
    names = ("numpy", "keras", "torch") if TORCH_PYTHON else ("numpy", "keras")
    bounds = [(f"a loop in {name} behind the stock trainers", -50, 50) for name in names]
    assert_checks_between(report("api"), *bounds, ("beside a loop in numpy behind stock alone", -50, 50))


@nightly
@pytest.mark.slow
@pytest.mark.modules("ai_edge_litert", "keras", "jax")
def test_learners_are_compared_and_train_alike(report):
    found = report("learners")
    parity = [check for check in found["checks"] if "against float64" in check["name"]]
    assert len(parity) == 4 * 3  # learners, optimisers
    assert all(check["holds"] for check in parity)
    assert any("above the bare imports" in check["name"] for check in found["checks"])
    against_torch = any("PyTorch" in check["name"] for check in found["checks"])
    assert against_torch or any("PyTorch" in note for note in found["notes"])


@pytest.mark.modules("ai_edge_litert")
def test_the_presets_are_compared_pooled_and_in_swarms(report):
    found = report("presets")
    assert all("TfliteLearner" in check["note"] for check in found["checks"])
    accuracies = [figure["value"] for figure in found["figures"] if "accuracy" in figure["name"]]
    assert len(accuracies) == 8
    assert all(1 / 7 < value < 1 for value in accuracies)


@pytest.mark.slow
def test_a_newcomer_is_timed(report):
    found = report("join")
    figures = {figure["name"]: figure["value"] for figure in found["figures"]}
    (check,) = found["checks"]
    assert 0 < check["value"] < 600
    assert figures["accuracy of the newcomer"] >= figures["accuracy of the worst of the others when it came"] - 0.01


@pytest.mark.slow
def test_announcements_over_iota_are_measured(report):
    names = [figure["name"] for figure in report("iota")["figures"]]
    wanted = (
        "announcements, as fast",
        "authors in one announcement",
        "proof of work at magnitude",
        "confirmed, median",
    )
    assert [start for start in wanted if not any(start in name for name in names)] == []


@pytest.mark.engine("ipfs")
@pytest.mark.modules("ipfshttpclient")
def test_the_race_over_ipfs_measures_both_ways(report):
    found = report("ipfs")
    names = [check["name"] for check in found["checks"]]
    assert [any(start in name for name in names) for start in ("throughput", "sender", "receiver")] == [True] * 3
    assert all(figure["value"] > 0 for figure in found["figures"])


@pytest.mark.slow
@pytest.mark.engine("gcc")
@pytest.mark.modules("serial", "cobs")
def test_the_bridge_is_measured(report):
    found = report("bridge")
    assert_checks_between(found, ("decoding", 0, 1000), ("115200 baud", 0, 100), ("neither right nor told", -1, 1))
    assert any("first reading" in figure["name"] and figure["value"] > 0 for figure in found["figures"])


@nightly
def test_the_race_of_privacy_holds_accuracy_and_audits(report):
    found = report("privacy")
    bounds = [("one window protected", 60, 90), ("one reading protected", 60, 90), ("told from others", 0.4, 0.7)]
    assert_checks_between(found, *bounds, ("times one without", 0.5, 50), ("with a tenth of the noise", 0.4, 20))


@nightly
def test_the_race_of_codecs_compares_what_swarms_reach(report):
    found = report("codecs")
    bounds = [(f"{name}: behind q8", -10, 10) for name in ("q4", "ternary", "sign", "top10")]
    assert_checks_between(found, *bounds, ("sign: muted as they moved", -1, 0.01))
    assert any(figure["name"] == "message of an update, sealed" for figure in found["figures"])


def test_momentum_is_compared_with_none_from_the_same_seeds(report):
    found = report("merging")
    assert len(found["checks"]) == 2
    assert all(check["bound"] == 0 and abs(check["value"]) < 50 for check in found["checks"])
    assert {figure["unit"] for figure in found["figures"]} == {"%", "points"}


@nightly
@pytest.mark.slow
def test_the_race_counts_what_real_trainers_reach_and_cost(report):
    assert_checks_between(
        report("race"),
        ("iid, as it comes: worst peer", 0.4, 1),
        ("skewed, as it comes: kB a peer and epoch", 1, 100),
        ("that of bare steps", 0.5, 1000),
        ("memory of a peer", 30, 300),
    )


@nightly
def test_the_race_of_personal_models_measures_members_and_newcomers(report):
    found = report("personal")
    assert_checks_between(
        found,
        ("personal less common, mean", -5, 50),
        ("personal less common, worst", -10, 80),
        ("most behind the better", -5, 30),
        ("newcomer less the swarm's model", -20, 60),
        ("newcomer less own rows alone", -30, 60),
        ("late joiner behind", -20, 60),
    )
    assert all(0 < figure["value"] <= 100 for figure in found["figures"])


@nightly
def test_what_looks_like_hepmass_is_never_called_hepmass_alone(tmp_path):
    output, found = run("hepmass", tmp_path)
    named = [one["name"] for one in (*found["checks"], *found["figures"])]
    assert len(named) > 20
    assert all(name.startswith("HEPMASS-like simulation") for name in named)
    assert output.count("HEPMASS") == output.count("HEPMASS-like simulation") + output.count("HEPMASS-like-simulation")
