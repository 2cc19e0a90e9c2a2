"""``learnae simulate --attack``: the swarm with liars, beside the one without them."""

from typing import Any

import numpy as np
import pytest
from nightly import how_many
from programs import Programs

from learnae.simulation.attacks import LIES
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

SMALL = ("--peers", 3, "--minutes", 0.3)


def simulated(programs: Programs, *arguments: object) -> dict[str, Any]:
    result: dict[str, Any] = programs.answer("learnae", "simulate", *arguments)
    return result


def test_the_report_sets_honest_peers_beside_the_swarm_without_liars(programs: Programs) -> None:
    call = ("--attack", "sign-flip", "--rule", "mean", *SMALL)
    report = simulated(programs, *call)
    assert (report["rule"], report["peers"], report["liars"]) == ("mean", 3, 1)
    absent, (attack,) = report["absent"], report["attacks"]
    assert len(absent["scores"]) == len(attack["scores"]) == 2
    behind = 100 * (min(absent["scores"]) - min(attack["scores"]))
    assert attack["points_behind_worst"] == pytest.approx(behind)
    assert behind > 5, "the mean is what one liar makes of it"
    assert attack["bytes_in"] > absent["bytes_in"] > 0
    assert simulated(programs, *call) == report, "all chance follows from the seed"


@pytest.mark.parametrize("kind", list(LIES) if how_many(0, 1) else ["equivocation", "flood-blocks", "late-joiner"])
def test_swarms_outlive_what_liars_send(programs: Programs, kind: str) -> None:
    (attack,) = simulated(programs, "--attack", kind, *SMALL)["attacks"]
    assert attack["kind"] == kind
    assert attack["liars_banned"] == (kind == "equivocation")


def test_rows_of_a_table_are_shared_out(programs: Programs) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2))
    np.savez(programs.root / "rows.npz", x=rows, y=(rows.sum(axis=1) > 0).astype(int))
    programs.add_swarm(Manifest("small", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy"))
    report = simulated(
        programs, "--attack", "backdoor", "--swarm", "small", "--data", programs.root / "rows.npz", *SMALL
    )
    (attack,) = report["attacks"]
    assert 0 <= attack["success"] <= 1


@pytest.mark.parametrize("task", ["values", "rows"])
def test_a_swarm_that_learns_values_is_judged_by_own_rows(programs: Programs, task: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 3)) @ rng.normal(size=(3, 6))
    values = rows if task == "rows" else rows[:, :1] - rows[:, 1:2]
    np.savez(programs.root / "rows.npz", x=rows, y=values)
    model = dense_config(6, (12,), values.shape[1], "linear")
    programs.add_swarm(Manifest("own", model, "mean_squared_error"))
    call = ("--swarm", "own", "--data", programs.root / "rows.npz", "--peers", 5, "--liars", 2, "--minutes", 0.5)
    spoiled, judged = (simulated(programs, "--attack", "label-flip", *call, "--rule", rule) for rule in ("mean", "own"))
    assert {spoiled["score"], judged["score"]} == {"r2"}
    assert judged["attacks"][0]["points_behind_worst"] < 10 < spoiled["attacks"][0]["points_behind_worst"]
    assert judged["attacks"][0]["liars_muted"] == 1
    for kind in ("backdoor", "bias"):
        refused = programs.run("learnae", "simulate", "--attack", kind, *call)
        assert f"--attack {kind}" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no --attack; choose from"),
        (("--attack", "nope"), ", ".join(LIES)),
        (("--attack", "replay", "--adaptive"), "choose from sign-flip"),
        (("--attack", "zeros", "--peers", 3, "--liars", 2), "at least 2 of them honest"),
        (("--attack", "zeros", "--peers", 10**9), "at most 64 peers"),
        (("--attack", "zeros", "--minutes", "nan"), "no number of minutes"),
        (("--attack", "zeros", "--minutes", "1e9"), "no number of minutes"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_what_can(
    programs: Programs, arguments: tuple[object, ...], told: str
) -> None:
    refused = programs.run("learnae", "simulate", *arguments)
    assert refused.returncode in {2, 78}
    assert told in refused.stderr


def test_a_scenario_file_is_played_and_its_curves_become_a_page(programs: Programs) -> None:
    file, page = programs.root / "calm.toml", programs.root / "calm.html"
    file.write_text("[swarm]\npeers = 2\n[time]\nminutes = 0.1\nsamples = 3\n")
    course = simulated(programs, file, "--page", page)
    assert len(course["points"]) == 3
    assert course["trace"] in page.read_text()
    assert "calm.toml beside --random" in programs.run("learnae", "simulate", file, "--random").stderr
    assert "name the file" in programs.run("learnae", "simulate", "--page", page).stderr
