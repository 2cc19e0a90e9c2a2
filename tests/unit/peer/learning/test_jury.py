"""A swarm that judges: liars are muted by what members tell of their rows, honest peers are not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.rigs.attacked import WRIST
from demo.people import accuracy, make_exam
from learnae.basics.overriding import override
from learnae.errors import ManifestError
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.models.wrapped_learner import WrappedLearner
from learnae.peer.following import Replica
from learnae.peer.learning.jury import CappedLoss, ProxyJury, balanced
from learnae.peer.summaries.lessons import Lessons
from learnae.ports import Learner
from learnae.privacy.policy import NONE, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.identity import peer_name
from learnae.samples.dp_statistics import layout_of
from learnae.simulation.simulator import Setting, Simulation, numpy_learner
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import Vector
from learnae.weights.merge import JUDGED, MEAN, MergePolicy, Vote

MANIFEST, PLAIN = (replace(WRIST, merge=MergePolicy(rule=rule)) for rule in (JUDGED, MEAN))
LIARS, PEOPLE = 2, 6


class SignFlipper(WrappedLearner):
    """Publishes the opposite of what it learns."""

    @override
    def weights(self) -> Vector:
        return -super().weights()


def swarm(manifest: Manifest) -> Simulation:
    datasets = make_exam(manifest).people[:PEOPLE]

    def learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        honest = numpy_learner(manifest, data, rng)
        return SignFlipper(honest) if any(data is each for each in datasets[:LIARS]) else honest

    simulation = Simulation(manifest, datasets, Setting(seed=2, listen=250, every=750, summaries=True), learner)
    simulation.run(60_000)
    return simulation


def reached(simulation: Simulation) -> float:
    exam = make_exam(simulation.manifest)
    return min(accuracy(WRIST, member.peer.estimate(), exam) for member in simulation.members[LIARS:])


@pytest.mark.slow
def test_liars_are_muted_and_named_and_the_others_learn() -> None:
    judged = swarm(MANIFEST)
    liars = {peer_name(member.identity.author) for member in judged.members[:LIARS]}
    for member in judged.members[LIARS:]:
        assert member.peer.merging.jury
        muted = set(member.peer.merging.jury.status())
        assert liars <= muted <= set(member.peer.status()["muted"])
        assert len(muted - liars) < PEOPLE - LIARS - 1, "who is unlike the others now and then is not all of them"
    assert reached(judged) > 0.8
    assert reached(swarm(PLAIN)) < 0.7, "who is not muted spoils it"


def test_own_rows_that_stand_in_mute_no_one_who_has_learnt_those_of_another() -> None:
    """Two members, so that no summaries count: one knows its own rows by heart, the other one's hardly."""
    mine, others = make_exam(MANIFEST).people[:2]
    learnt = []
    for data in (mine, others):
        learner = numpy_learner(MANIFEST, data, np.random.default_rng(1))
        learner.load(MANIFEST.definition.initial(MANIFEST.seed))
        learner.train(5000)
        learnt.append(learner.weights())
    layout = layout_of(MANIFEST)
    assert layout
    jury = ProxyJury(MANIFEST, Lessons(layout, mine, np.random.default_rng(0)), mine.holdout)
    replicas = {
        name: Replica(vector, 100, 0, False, Cid.of(RAW, name))
        for name, vector in ((b"honest", learnt[1]), (b"flipped", -learnt[0]), (b"nothing", 0 * learnt[0]))
    }
    jury.sit(Vote(learnt[0], 100, 0, False), replicas, 0)
    assert set(jury.muted) == {b"flipped", b"nothing"}
    assert set(jury.heard(replicas)) == {b"honest"}


def test_a_swarm_that_has_nothing_to_judge_with_is_refused() -> None:
    with pytest.raises(ManifestError, match="cannot be judged"):
        replace(MANIFEST, privacy=PrivacyPolicy(summary=SummaryPrivacy(form=NONE)))


def test_a_manifest_says_the_rule() -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes()).merge.rule == JUDGED
    assert b"judged" not in PLAIN.to_bytes()


@pytest.mark.parametrize(("outputs", "final"), [(7, "softmax"), (1, "sigmoid")])
@pytest.mark.parametrize("spoiled", [1.0, 1e4, np.nan, np.inf])
def test_losses_of_many_are_those_of_each_by_itself(outputs: int, final: str, spoiled: float) -> None:
    model = ModelDefinition.from_config(dense_config(30, (64, 32), outputs, final))
    rng = np.random.default_rng(1)
    rows, targets = rng.normal(size=(256, 30)).astype(np.float32), rng.integers(0, max(outputs, 2), 256)
    several = [model.initial(number) for number in range(9)]
    several[3][::7] = spoiled
    found = CappedLoss(model, rows, targets, max(outputs, 2)).of_each(iter(several))
    most = 2 * math.log(max(outputs, 2))
    for vector, loss in zip(several, found, strict=True):
        with np.errstate(all="ignore"):
            said = predict(model, vector, rows)
        said = np.concatenate([1 - said, said], axis=1) if outputs == 1 else said
        likely = np.maximum(np.nan_to_num(said[np.arange(256), targets]), 1e-37)
        assert loss == pytest.approx(np.minimum(-np.log(likely), most).mean(), abs=1e-4)


@pytest.mark.parametrize(("counts", "chosen"), [((990, 4), (128, 32)), ((500, 900), (128, 128)), ((7, 0), (56, 0))])
def test_own_rows_that_stand_in_are_as_many_of_each_class(counts: tuple[int, int], chosen: tuple[int, int]) -> None:
    manifest = Manifest("skewed", dense_config(1, (), 1, "sigmoid"), "binary_crossentropy", classes=("a", "b"))
    data, classes = Dataset(manifest.model, manifest.objective), np.repeat([0, 1], counts)
    data.add(np.where(classes == 1, 1.0, -1.0)[:, None], classes, holdout=True)
    rows, targets = balanced(data.holdout, 256)
    assert tuple(np.bincount(targets.ravel().astype(int), minlength=2).tolist()) == chosen
    assert np.array_equal(rows.ravel() > 0, targets.ravel() > 0), "a row keeps its class"
