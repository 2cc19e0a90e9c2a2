"""A program's own loop as a peer, in one process: what leaves, what comes back, what is refused."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages_here import messages_in
from programs import NO_FLOORS, wait_for

import learnae
from learnae.errors import (
    ConfigurationError,
    DataError,
    InUseError,
    LearnaeError,
    ModelError,
    StateError,
)
from learnae.models.dataset import Dataset
from learnae.protocol.bodies import Contributions, Update
from learnae.protocol.identity import peer_name
from learnae.runtime.version_store import read_version, roll_back
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.directory import create_swarm, find_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.own_loop import manifest_of
from learnae.swarm.presets import dense_config

AT_ONCE = {"publish.every": 0.01}
HELD = {**AT_ONCE, "privacy.merge_first": False}
FREE = {**HELD, "privacy.rows": 0, "privacy.draws": 0, "privacy.clip": False}
START = {"w": np.full((2, 2), 0.5, np.float32), "b": np.zeros(2, np.float32)}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in NO_FLOORS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def dense(name: str = "dense") -> str:
    manifest = Manifest(name, dense_config(2, (), 2, "softmax"), "sparse_categorical_crossentropy")
    return str(create_swarm(manifest).manifest.swarm)


def mine(**options: Any) -> str:
    return learnae.create_swarm("mine", parameters=START, **{"membership": "open", **options})


def updates(swarm: str, peer: learnae.SharedPeer) -> list[Update]:
    own = [each for each in messages_in(find_swarm(swarm).directory) if peer_name(each.author) == peer.status()["peer"]]
    return [each.body for each in own if isinstance(each.body, Update)]


def moved(weights: Any, by: float) -> Any:
    return {name: array + by for name, array in weights.items()}


def test_what_two_share_is_merged_and_both_have_the_same_estimate(stack: ExitStack) -> None:
    swarm = dense()
    ann, ben = (stack.enter_context(learnae.join(swarm, name=name, settings=FREE)) for name in ("ann", "ben"))
    first = ann.share([np.ones((2, 2)), np.zeros(2)], 300, {"loss": 0.5, "accuracy": 0.75})
    assert [array.tolist() for array in first] == [[[1, 1], [1, 1]], [0, 0]], "nothing of others is here yet"
    back = ben.share(np.full(6, 3, np.float16), 300, steps=7)
    assert (back.dtype, back.shape) == (np.float16, (6,))
    assert back == pytest.approx([2, 2, 2, 2, 1.5, 1.5], abs=0.02), "the mean of both"
    merged = wait_for(lambda: (got := ann.weights())[0][0, 0] != 1 and got, "what ben has said")
    assert merged[1] == pytest.approx([1.5, 1.5], abs=0.02)
    assert ben.estimate(like=first)[0] == pytest.approx(ann.estimate()[0], abs=0.02)
    said = updates(swarm, ann)[-1]
    assert (said.samples, said.steps, said.metrics and said.metrics.accuracy) == (300, 1, 0.75)
    assert (ben.status()["steps"], ann.status()["accuracy"], ben.status()["loss"]) == (7, 0.75, None)


def test_floors_hold_back_what_is_of_few_rows_and_merge_all_the_same(stack: ExitStack) -> None:
    swarm = mine()
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    ann.share(moved(START, 1), 300)
    ben = stack.enter_context(learnae.join(swarm, name="ben", settings=HELD))
    ann.share(moved(START, 2), 300)
    back = ben.share(moved(START, 3), 99)
    assert ben.status()["held_back"] == "99 of 100 distinct rows"
    assert updates(swarm, ben) == []
    assert back["b"] == pytest.approx([2, 2], abs=0.02), "the swarm's, as nothing of its own is in the vote"
    given = moved(START, 3)
    assert ben.share(given, 150)["b"].tolist() == [3, 3], "256 rows in all must have been drawn: it trains on"
    ben.share(given, 150)
    assert len(updates(swarm, ben)) == 1
    assert ben.status()["held_back"] == ""


def test_an_update_is_no_longer_than_twice_what_is_usual(stack: ExitStack) -> None:
    swarm = mine()
    settings = {**FREE, "privacy.clip": True}
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=settings))
    weights = ann.weights()
    for step in (1.0, 1.0, 50.0):
        before, weights = weights["b"][0], ann.share(moved(weights, step), 300)
    assert weights["b"][0] - before == pytest.approx(2.0, abs=0.1)


def test_frames_are_of_eight_bits_unless_others_have_accepted_more(stack: ExitStack) -> None:
    swarm = mine(codec="f32")
    with stack.enter_context(learnae.join(swarm, name="ann", settings=FREE)) as ann:
        ann.share(moved(START, 1), 300)
        assert updates(swarm, ann)[0].frame.codec == "f32"
    (Path(find_swarm(swarm).directory).parents[1] / "created" / swarm).unlink()  # as one that another has made
    with pytest.raises(
        ConfigurationError, match=r"frames in f32.*starting weights.*--accept exact_frames,foreign_start"
    ):
        learnae.join(swarm, name="ben")
    stack.enter_context(learnae.join(swarm, name="ben", accept=["exact_frames", "foreign_start"]))


def test_what_comes_too_early_goes_on_and_nothing_is_merged_before_it_is_out(stack: ExitStack) -> None:
    swarm = mine()
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    ben = stack.enter_context(learnae.join(swarm, name="ben", settings={**FREE, "publish.every": 600.0}))
    ben.share(moved(START, 1), 300)
    ann.share(moved(START, 2), 300)
    given = moved(START, 5)
    assert ben.share(given, 300, wait=False)["b"].tolist() == [5, 5]
    assert ben.weights()["b"].tolist() == [5, 5], "it is part of the next update"
    assert len(updates(swarm, ben)) == 1


def test_a_name_goes_on_from_what_it_has_saved_and_serves_one_at_a_time(stack: ExitStack) -> None:
    swarm = mine()
    ann = learnae.join(swarm, name="ann", settings=FREE)
    ann.share(moved(START, 2), 300)
    with pytest.raises(InUseError, match="in use by process"):
        learnae.join(swarm, name="ann")
    ann.close()
    ann.close()
    for call in (ann.weights, ann.estimate, ann.status, lambda: ann.share(START, 300)):
        with pytest.raises(StateError, match="closed"):
            call()
    again = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    assert again.weights()["b"] == pytest.approx([2, 2], abs=0.02)
    assert again.status()["steps"] == 1


def test_a_process_that_is_forked_off_leaves_the_peer_to_its_parent(stack: ExitStack) -> None:
    """As loaders of data are: what is closed there, also at its end, is not closed here."""
    ann = stack.enter_context(learnae.join(mine(), name="ann", settings=FREE))
    ann.share(moved(START, 2), 300)
    child = os.fork()
    if not child:
        status = 1
        try:
            ann.close()
            ann.weights()
        except StateError as error:
            status = 0 if "of the process that has made it" in str(error) else 2
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert ann.share(moved(START, 3), 300)["b"].tolist() == [3, 3]
    with pytest.raises(InUseError):
        learnae.join("mine", name="ann")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"name": " ", "preset": "wrist"}, "without a name"),
        ({"name": "a" * 65, "preset": "wrist"}, "64 characters"),
        ({"name": "a"}, "one of parameters, model and preset"),
        ({"name": "a", "preset": "wrist", "parameters": START}, "one of parameters, model and preset"),
        ({"name": "a", "preset": "wrst"}, "wrst"),
        ({"name": "a", "preset": "wrist", "rule": "krum"}, "rule is 'krum'; use mean, judged, own, trimmed"),
        ({"name": "a", "preset": "wrist", "codec": "q4"}, "codec is 'q4'"),
        ({"name": "a", "preset": "wrist", "membership": "all"}, "membership is 'all'"),
        ({"name": "a", "parameters": [1.0]}, "parameters is a list"),
        ({"name": "a", "parameters": {1: np.ones(1)}}, "the name 1"),
        ({"name": "a", "parameters": {"w": "x"}}, "'w' of the parameters: a str"),
        ({"name": "a", "parameters": {"w": np.array([1e9])}}, "cannot be used"),
        ({"name": "a", "model": 3}, "model is a int"),
        ({"name": "a", "model": dense_config(2, (), 2, "softmax")}, "loss '' is not supported"),
    ],
)
def test_a_swarm_that_cannot_be_is_not_made(arguments: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(LearnaeError, match=why):
        learnae.create_swarm(**{"membership": "open", **arguments})
    assert not list(tmp_path.glob("home/swarms/*/manifest.cbor"))


def test_a_step_back_replaces_what_the_loop_was_training_on(stack: ExitStack) -> None:
    swarm = mine()
    with learnae.join(swarm, name="ann", settings=FREE) as ann:
        ann.share(moved(START, 2), 300, {"loss": 1.0})
    directory = ann._linked.workspace.directory
    assert [kept.name for kept in ann.versions()] == ["best", "v1"]
    roll_back(directory, "v1")
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    kept = read_version(directory, "v1").vector
    with ann._runner.lock:
        ann._peer.go_back(kept + 1, frozenset())  # as when a member was banned
    assert ann.share(moved(START, 9), 300)["b"] == pytest.approx(kept[4:] + 1)


def test_data_measures_judges_and_counts_and_stays_here(stack: ExitStack) -> None:
    rng, swarm = np.random.default_rng(1), dense()
    rows = rng.normal(size=(400, 2))
    ann = stack.enter_context(learnae.join(swarm, name="ann", data=(rows, (rows[:, 0] > 0).astype(int)), settings=FREE))
    status = ann.status()
    assert (status["training_rows"], status["engine"]) == (280, "of its owner's program")
    ann.share([np.array([[-9.0, 9.0], [0, 0]]), np.zeros(2)])
    assert (ann.status()["accuracy"], ann.status()["holdout_rows"]) == (1.0, 120)
    with pytest.raises(ConfigurationError, match="data has 280 training rows"):
        ann.share(np.zeros(6), 281)
    with pytest.raises(ConfigurationError, match="metrics of a peer that measures"):
        ann.share(np.zeros(6), 9, {"loss": 1.0})


def test_contributions_are_told_where_they_can_be(stack: ExitStack) -> None:
    alone = stack.enter_context(learnae.join(mine(), name="alone", settings=FREE, like=START))
    assert alone.contributions() == [], "of parameters nothing is known to judge by"
    rng = np.random.default_rng(1)
    data = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    peer = stack.enter_context(learnae.join(dense(), name="ann", data=data, settings=FREE))
    peer.share(peer.weights(), 100)
    assert peer._peer.rating
    book, other = peer._peer.rating.book, bytes(32)
    said = Contributions((peer._peer.author[:8],), (150,))
    book.hear(other, 1, said)
    book.admit([other])
    assert peer.contributions() == [
        {
            "peer": peer.status()["peer"],
            "name": "ann",
            "usefulness": 1.5,
            "raters": 1,
            "low": 1.5,
            "high": 1.5,
            "own": None,
        }
    ]


def test_a_loss_mutes_who_lies_and_is_asked_in_its_callers_thread(stack: ExitStack) -> None:
    asked: list[tuple[threading.Thread, type]] = []

    def loss(weights: Any) -> dict[str, float]:
        asked.append((threading.current_thread(), type(weights)))
        return {"loss": float(np.square(weights["b"] - 1).mean()), "accuracy": 0.5}

    swarm = mine()
    ann = stack.enter_context(learnae.join(swarm, name="ann", loss=loss, settings=FREE))
    liar, ben = (stack.enter_context(learnae.join(swarm, name=name, settings=FREE)) for name in ("liar", "ben"))
    weights = ann.share({**START, "b": START["b"] + 0.5}, 300)
    liar.share({**START, "b": START["b"] - 5}, 300)
    ben.share({**START, "b": START["b"] + 1}, 300)
    weights = ann.share({**START, "b": START["b"] + 0.6}, 300)
    assert weights["b"] == pytest.approx([0.8, 0.8], abs=0.1), "ben's, and its own"
    assert list(ann.status()["muted"]) == [liar.status()["peer"]]
    assert ann.status()["accuracy"] == 0.5
    assert set(asked) == {(threading.current_thread(), dict)}


def test_without_a_loss_the_middle_of_many_counts(stack: ExitStack) -> None:
    swarm = mine()
    names = ("ann", "ben", "cho", "dee")
    peers = [stack.enter_context(learnae.join(swarm, name=name, settings=FREE)) for name in names]
    for peer, by in zip(peers[1:], (1.0, 1.5, 1e5), strict=True):
        peer.share(moved(START, by), 300)
    assert peers[0].share(moved(START, 2), 300)["b"] == pytest.approx([1.75, 1.75], abs=0.1)


def test_a_large_part_that_is_not_trained_is_many_equal_blocks(stack: ExitStack) -> None:
    """Of three blocks of weights two are alike in the start, and then in each update: nothing has changed in them."""
    start = {"frozen": np.ones(3 << 18, np.float32), "head": np.zeros(2)}
    swarm = learnae.create_swarm("large", parameters=start, membership="open", codec="f32")
    ann, ben = (stack.enter_context(learnae.join(swarm, name=name, settings=FREE)) for name in ("ann", "ben"))
    for step in (1.0, 2.0):
        ann.share({**start, "head": start["head"] + step}, 300)
        own = ann._peer.own.last
        assert own
        assert len(set(own.blocks)) < len(own.blocks)
    assert wait_for(lambda: ben.weights()["head"][0] == 2, "what ann has said")
    assert ben.status()["problems"] == {}


def test_what_a_callers_function_raises_is_raised_and_the_peer_lives(stack: ExitStack) -> None:
    broken: list[Exception | object] = [ZeroDivisionError("mine"), "much", {"loss": "a lot"}, None]

    def loss(_: Any) -> Any:
        if broken:
            if isinstance(found := broken[0], Exception):
                raise found
            return found
        return 1.0

    ann = stack.enter_context(learnae.join(mine(), name="ann", loss=loss, settings=FREE))
    for expected in (ZeroDivisionError, DataError, DataError, DataError):
        with pytest.raises(expected):
            ann.share(moved(START, 1), 300)
        broken.pop(0)
    assert ann.share(moved(START, 1), 300)["b"].tolist() == [1, 1]
    assert ann.status()["loss"] == 1.0


def test_a_call_that_is_broken_off_in_its_midst_leaves_what_is_on_the_disk(stack: ExitStack) -> None:
    """As a second Ctrl-C does: what others hold of this peer may be less than it believes."""
    swarm = mine()
    ann = learnae.join(swarm, name="ann", settings=FREE)
    ann.share(moved(START, 1), 300)
    saved = (ann._linked.workspace.directory / "state").read_bytes()
    ann._peer.publisher.state.save = interrupted  # type: ignore[method-assign] - in the midst of publishing
    with pytest.raises(KeyboardInterrupt):
        ann.share(moved(START, 5), 300)
    with pytest.raises(StateError, match="interrupted in its work; close it, and join again"):
        ann.weights()
    ann.close()
    assert (ann._linked.workspace.directory / "state").read_bytes() == saved
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    assert ann.weights()["b"] == pytest.approx([1, 1], abs=0.02)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_waits_until_the_peers_part_is_done(stack: ExitStack) -> None:
    asked = []

    def loss(_: Any) -> float:
        asked.append(1)
        if len(asked) == 1:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    ann = stack.enter_context(learnae.join(mine(), name="ann", loss=loss, settings=FREE))
    with pytest.raises(KeyboardInterrupt):
        ann.share(moved(START, 1), 300)
    assert ann.status()["seq"] == 1, "the update is out"
    assert ann.weights()["b"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        ({"samples": None}, DataError, "samples is None; give a whole number"),
        ({"samples": 0}, DataError, "samples is 0"),
        ({"samples": 1.5}, DataError, "samples is 1.5"),
        ({"samples": True}, DataError, "samples is True"),
        ({"samples": 10**10}, DataError, "from 1 to 1000000000"),
        ({"steps": -1}, DataError, "steps is -1"),
        ({"metrics": {}}, DataError, "give loss, too"),
        ({"metrics": {"accuracy": 0.5}}, DataError, "give loss, too"),
        ({"metrics": {"loss": float("nan")}}, DataError, "loss is nan"),
        ({"metrics": {"loss": "0.1"}}, DataError, "loss is '0.1'"),
        ({"metrics": {"loss": np.ones(2)}}, DataError, "loss is array"),
        ({"metrics": {"loss": 1.0, "reading": 3.7}}, DataError, "metrics holds 'reading'"),
        ({"metrics": {"loss": 1.0, "accuracy": 1.1}}, DataError, "between 0 and 1"),
        ({"metrics": {"loss": 1.0, "rows": 2.5}}, DataError, "rows is 2.5"),
        ({"weights": [1.0]}, ModelError, "1 array of floats|no array|a list"),
    ],
)
def test_figures_that_cannot_be_are_refused_and_nothing_of_them_leaves(
    stack: ExitStack, arguments: dict[str, Any], kind: type[LearnaeError], why: str
) -> None:
    swarm = mine()
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    with pytest.raises(kind, match=why):
        ann.share(**{"weights": START, "samples": 300, **arguments})
    assert updates(swarm, ann) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"settings": {"mqtt": "x"}}, "settings holds 'mqtt'"),
        ({"settings": {"mqtt.brocker": "x"}}, "did you mean 'broker'"),
        ({"settings": {"train.steps": 3}}, "unknown section 'train'"),
        ({"accept": "exact_frames,raw"}, "accept holds 'exact_frames,raw'"),
        ({"accept": ["all"]}, "accept holds 'all'"),
        ({"name": "../ann"}, "no name for a peer"),
        ({"data": np.ones((9, 2))}, "give loss in place of it"),
        ({"like": {"w": 1}}, "of the weights"),
        ({"settings": {"privacy.epsilon": 4.0}}, "differentially private"),
    ],
)
def test_what_cannot_be_joined_so_is_refused_and_leaves_no_lock(options: dict[str, Any], why: str) -> None:
    swarm = mine()
    with pytest.raises(LearnaeError, match=why):
        learnae.join(swarm, **{"name": "ann", **options})
    learnae.join(swarm, name="ann").close()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("data.csv", "a trainer reads files"),
        ((np.ones((9, 2)),), "1 parts"),
        ((np.ones((9, 3)), np.zeros(9)), "rows of shape"),
        ((np.ones((9, 2)), np.zeros(8)), "targets of shape"),
        ((np.full((9, 2), np.nan), np.zeros(9)), "9 cannot be used"),
        ((np.ones((9, 2)), np.full(9, 2)), "9 cannot be used"),
    ],
)
def test_rows_that_do_not_fit_are_refused(data: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        learnae.join(dense(), name="ann", data=data)


def test_a_members_configuration_has_the_links_and_sections_of_other_programs(stack: ExitStack, tmp_path: Path) -> None:
    swarm, file = mine(), tmp_path / "trainer.toml"
    file.write_text('[data]\nfile = "x.csv"\n[train]\nsteps = 3\n[publish]\nevery = 7.0\n[privacy]\nrows = 5\n')
    ann = stack.enter_context(learnae.join(swarm, name="ann", config=file, settings={"privacy.rows": 6}))
    assert ann._peer.cadence.policy.every == 7000
    assert ann._peer.options.floors.floors.rows == 6
    file.write_text("[dta]\nx = 1\n")
    with pytest.raises(ConfigurationError, match="unknown section 'dta'"):
        learnae.join(swarm, name="ben", config=file)


def test_members_alone_may_join_and_the_owners_machine_lets_in(stack: ExitStack, tmp_path: Path) -> None:
    swarm = mine(membership="invite")
    ann = stack.enter_context(learnae.join(swarm, name="ann", settings=FREE))
    assert ann.status()["membership"] == "member"
    assert ann.share(moved(START, 1), 300)["b"].tolist() == [1, 1]
    (find_swarm(swarm).directory / "owner.key").rename(tmp_path / "owner.key")
    ann.close()
    (tmp_path / "home/peers/ann/key.pem").rename(tmp_path / "key.pem")
    with pytest.raises(StateError, match="no member yet"):
        learnae.join(swarm, name="ben", wait=0.1)


def test_a_swarm_of_parameters_needs_no_more_than_what_it_says_to_be_seen(tmp_path: Path) -> None:
    """A simulated swarm, whose members' judges and reports ask for rows where there are some."""
    manifest, blocks = manifest_of(START, "mine", 1)
    assert len(blocks) == 1
    with pytest.raises(ModelError, match="members' own programs"):
        Simulation(manifest, [Dataset(manifest.model, manifest.objective)], Setting())
    assert json.loads(json.dumps(manifest.config)) == manifest.config
    assert not list(tmp_path.glob("home/peers/*"))
