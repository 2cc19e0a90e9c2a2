"""What every ports.Learner promises: one suite over NumPy and, where they are installed, Keras on JAX and TFLite."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras_configs import dense, layer
from learner_models import (
    BATCH,
    OPTIMISERS,
    OUTPUTS,
    RUNTIMES,
    STEPS,
    TOLERANCE,
    Batches,
    Task,
    autoencoder,
    conv,
    require,
    task,
    task_of,
)
from row_gradients import sum_by_rows

from learnae.errors import ModelError, StateError
from learnae.models.dataset import Dataset
from learnae.models.losses import LOSSES, REGRESSIONS
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.protocol.bodies import Metrics

Make = Callable[..., Learner]
State = dict[str, tuple[Any, ...]]

CLASSES = "sparse_categorical_crossentropy"
RATES = {"sgd": 0.2, "momentum": 0.1, "adam": 0.02}


def numpy(job: Task, *rest: Any, **options: Any) -> Learner:
    return NumpyLearner(job.model, job.loss, *rest, **options)


def tflite(job: Task, *rest: Any, **options: Any) -> Learner:
    require(*RUNTIMES)
    require("flatbuffers")
    from agent.learning.tflite_learner import TfliteLearner

    return TfliteLearner(job.model, job.loss, *rest, **options)


def jax(job: Task, *rest: Any, **options: Any) -> Learner:
    require("jax")
    require("keras")
    from trainer_node.learning.jax_learner import JaxLearner

    return JaxLearner(job.config, job.loss, *rest, **options)


def dataset(job: Task, rows: int = 60, holdout: int = 300) -> Dataset:
    data, rng = Dataset(job.model, job.loss), np.random.default_rng(5)
    for count, held_out in ((rows, False), (holdout, True)):
        if count:
            values, targets = job.batch(rng, count)
            if job.loss.name == CLASSES:
                targets = values.reshape(count, -1)[:, :OUTPUTS].argmax(axis=1)  # something to learn
            data.add(values, targets, held_out)
    return data


@pytest.fixture(params=[numpy, tflite, jax], ids=["numpy", "tflite", "jax"])
def make(request: pytest.FixtureRequest) -> Make:
    def build(
        job: Task,
        optimiser: str = "momentum",
        data: Dataset | None = None,
        seed: int = 0,
        policy: OptimiserPolicy | None = None,
        **options: Any,
    ) -> Learner:
        policy = policy or OptimiserPolicy(optimiser, RATES[optimiser])
        data = dataset(job) if data is None else data
        learner: Learner = request.param(job, policy, data, 16, np.random.default_rng(seed), **options)
        learner.load(job.model.initial(0))
        return learner

    return build


def measured(learner: Learner, weights: Any = None) -> Metrics:
    metrics = learner.evaluate(learner.weights() if weights is None else weights)
    assert metrics is not None
    return metrics


def contents(learner: Learner) -> State:
    return {name: (array.shape, array.dtype, array.tobytes()) for name, array in learner.state().items()}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_makes_the_model_better(make: Make, optimiser: str) -> None:
    me = make(task("dense-relu", CLASSES), optimiser)
    before = measured(me)
    trained = me.train(150)
    after = measured(me)
    assert (trained.steps, trained.rows, after.rows) == (150, 60, 300)
    assert after.loss < before.loss / 2
    assert after.accuracy is not None
    assert 0.85 <= after.accuracy <= 1


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_reported_and_falls(make: Make, loss: str) -> None:
    me = make(task("dense-tanh", loss))
    first, last = me.train(5), me.train(400)
    assert 0 < me.train(20).loss < first.loss
    assert last.steps == 400
    assert (measured(me).accuracy is None) == (loss in REGRESSIONS)


def test_an_autoencoder_learns_from_rows_alone(make: Make) -> None:
    job = autoencoder("mean_squared_error")
    data, rows = Dataset(job.model, job.loss), np.zeros((200, 13, 3), np.float32)
    rows[:] = np.sin(np.arange(13)[:, None] + np.random.default_rng(0).uniform(0, 6, (200, 1, 1)))
    data.add(rows, rows)
    data.add(rows[:50], rows[:50], holdout=True)
    me = make(job, "adam", data)
    before = measured(me)
    me.train(300)
    assert measured(me).loss < before.loss / 10


@pytest.mark.parametrize("make", [numpy, tflite], indirect=True)  # the order of Keras' batches is no part of its state
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("body", ["dense-relu", "batch-norm-conv"])
def test_training_can_be_continued_elsewhere(make: Make, optimiser: str, body: str) -> None:
    job = task(body, CLASSES)
    data = dataset(job)
    whole, first, second = (make(job, optimiser, data, seed) for seed in (1, 1, 2))
    whole.train(6)
    first.train(3)
    second.train(5)
    second.load(first.weights())
    second.restore({name: array.copy() for name, array in first.state().items()})
    second.rng = first.rng  # type: ignore[attr-defined]
    second.train(3)
    assert second.weights().tobytes() == whole.weights().tobytes()
    assert contents(second) == contents(whole)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_state_fits_another_learner_and_back(make: Make, optimiser: str) -> None:
    job = task("dense-relu", CLASSES)
    data = dataset(job)
    policy = OptimiserPolicy(optimiser, 0.02)
    reference = NumpyLearner(job.model, job.loss, policy, data, 16, np.random.default_rng(0))
    me, other = make(job, optimiser, data), make(job, optimiser, data)
    me.train(3)
    reference.restore(me.state())
    other.restore(reference.state())
    assert int(me.state()["steps"][0]) == 3
    assert contents(me) == contents(reference) == contents(other)
    reference.load(me.weights())
    reference.train(2)
    me.restore(reference.state())
    assert contents(me) == contents(reference)


def test_a_state_that_does_not_fit_is_refused(make: Make) -> None:
    job = task("dense-relu", CLASSES)
    momentum, adam = make(job, "momentum"), make(job, "adam")
    state = dict(momentum.state())
    steps = {"steps": state["steps"]}
    short = {**state, "velocity": state["velocity"][1:]}
    for wrong in (adam.state(), {}, steps, {**steps, "square": state["velocity"]}, short):
        with pytest.raises(StateError):
            momentum.restore(wrong)
    with pytest.raises(StateError):
        adam.restore(state)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_loading_gives_the_same_back_and_leaves_the_optimiser_as_it_is(make: Make, optimiser: str) -> None:
    job = task("dense-relu", CLASSES)
    me = make(job, optimiser)
    me.train(5)
    before = contents(me)
    me.load(job.model.initial(5))
    assert me.weights().dtype == np.float32
    assert me.weights().tobytes() == job.model.initial(5).tobytes()
    assert contents(me) == before


def test_what_was_saved_or_given_is_not_shared(make: Make) -> None:
    me = make(task("dense-relu", CLASSES))
    given = me.weights()
    before = given.copy()
    me.load(given)
    given += 1
    assert me.weights().tobytes() == before.tobytes()
    me.weights()[:] = 0
    kept = me.weights()
    assert kept.tobytes() == before.tobytes()
    saved = {name: array.copy() for name, array in me.state().items()}
    me.restore(saved)
    me.train(1)
    assert kept.tobytes() == before.tobytes() != me.weights().tobytes()
    assert saved["velocity"].max() == 0
    assert np.abs(me.state()["velocity"]).max() > 0


def test_an_evaluation_changes_nothing(make: Make) -> None:
    job = task("batch-norm", CLASSES)
    me, other = make(job), make(job)
    for learner in (me, other):
        learner.train(2)
        if learner is me:
            before = me.weights()
            measured(me, job.model.initial(9))
            assert me.weights().tobytes() == before.tobytes()
        learner.train(2)
    assert me.weights().tobytes() == other.weights().tobytes()


@pytest.mark.parametrize("loss", LOSSES)
def test_an_evaluation_is_of_the_weights_given(make: Make, loss: str) -> None:
    job = task("conv-deep", loss)
    data = dataset(job)
    me, reference = make(job, data=data), numpy(job, OptimiserPolicy(), data, 16, np.random.default_rng(0))
    for seed in (3, 4):
        mine, wanted = (measured(learner, job.model.initial(seed)) for learner in (me, reference))
        assert mine.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert (mine.accuracy, mine.rows) == (pytest.approx(wanted.accuracy), 300)
        if wanted.mae is not None and wanted.r2 is not None:
            assert mine.mae == pytest.approx(wanted.mae, rel=1e-4)
            assert mine.r2 == pytest.approx(wanted.r2, rel=1e-3, abs=1e-4)
        assert (mine.mae is None) == (loss not in REGRESSIONS)


def test_evaluations_count_every_row_once(make: Make) -> None:
    job = task("dense-relu", "mean_squared_error")
    for rows in (1, 127, 128, 129):
        data = dataset(job, 0, rows)
        reference = numpy(job, OptimiserPolicy(), data, 16, np.random.default_rng(0))
        found, wanted = (measured(learner, job.model.initial(2)) for learner in (make(job, data=data), reference))
        assert (found.rows, found.loss) == (rows, pytest.approx(wanted.loss, rel=1e-5))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_without_rows_or_steps_there_is_nothing_to_do(make: Make, optimiser: str) -> None:
    job = task("dense-relu", CLASSES)
    for me, steps in ((make(job, optimiser, Dataset(job.model, job.loss)), 5), (make(job, optimiser), 0)):
        trained = me.train(steps)
        assert (trained.steps, trained.rows, trained.loss) == (0, 0, 0.0)
        assert (me.evaluate(me.weights()) is None) == (steps > 0)
        assert me.weights().tobytes() == job.model.initial(0).tobytes()
        assert int(me.state()["steps"][0]) == 0


def test_rows_that_come_later_are_learnt(make: Make) -> None:
    job = task("dense-relu", CLASSES)
    data = dataset(job, 16)
    me = make(job, data=data)
    assert me.train(1).rows == 16
    values, _ = job.batch(np.random.default_rng(0), 500)
    data.add(values, np.zeros(500))
    assert me.train(1).rows == 516


# -- no row's gradient is longer than a bound

EVERYTHING = task_of(
    CLASSES,
    *(layer("LayerNormalization"), conv(6, 4, padding="same", strides=2), layer("ReLU"), layer("Dropout", rate=0.5)),
    *(conv(5, 3, activation="tanh", use_bias=False), layer("MaxPooling1D", pool_size=2), layer("Flatten")),
    *(dense(7, "sigmoid"), layer("LayerNormalization", center=False), dense(6, use_bias=False), dense(3, "softmax")),
    shape=(13, 3),
)
SUMMED = [EVERYTHING, task("average", "huber"), task("dense-relu", "binary_crossentropy"), autoencoder(REGRESSIONS[0])]


@pytest.mark.parametrize("job", SUMMED, ids=["everything", "average", "dense", "autoencoder"])
def test_gradients_of_rows_are_summed_none_longer_than_the_bound(make: Make, job: Task) -> None:
    rng = np.random.default_rng(4)
    rows, targets = job.batch(rng, 70)
    rows *= 10 ** rng.uniform(-0.5, 0.5, (70, *[1] * (rows.ndim - 1))).astype(np.float32)
    weights = job.model.initial(3) + rng.normal(size=job.model.count).astype(np.float32) / 10
    me: Any = make(job)
    me.load(weights)
    state = contents(me)
    for count, bound in ((70, 0.3), (70, np.inf), (1, 0.3)):
        found = me.clipped_sum(rows[:count], targets[:count], bound)
        wanted = sum_by_rows(job.model, job.loss, weights, rows[:count], targets[:count], bound)
        assert found.norms == pytest.approx(wanted.norms, rel=1e-5, abs=1e-5)
        assert found.gradient == pytest.approx(wanted.gradient, rel=1e-5, abs=1e-4)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert np.linalg.norm(found.gradient) <= count * bound
    assert (wanted.norms > 0.3).mean() > 0.1
    nothing = me.clipped_sum(rows[:0], targets[:0], 1.0)
    assert (nothing.norms.shape, np.abs(nothing.gradient).max()) == ((0,), 0)
    assert me.weights().tobytes() == weights.tobytes()  # nothing is trained
    assert contents(me) == state


def test_where_layers_mix_rows_none_has_a_gradient(make: Make) -> None:
    job = task("batch-norm", CLASSES)
    me: Any = make(job, clip=NormClip())
    with pytest.raises(ModelError, match="BatchNormalization mixes the rows"):
        me.clipped_sum(*job.batch(np.random.default_rng(0)), 1.0)
    assert me.train(3).steps == 3  # whose update can be clipped as a whole
    assert me.weights().tobytes() == trained_without(make, job).tobytes()


def trained_without(make: Make, job: Task) -> Any:
    other = make(job)
    other.train(3)
    return other.weights()


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("body", ["dense-tanh", "layer-norm-conv"])
def test_steps_that_clip_are_those_of_the_rows_one_by_one(make: Make, body: str, optimiser: str) -> None:
    """50 steps against float64; the bound is what the first batch has in weights that have learnt nothing."""
    job = task(body, CLASSES)
    policy, start = OPTIMISERS[optimiser], job.model.initial(3)
    exact, clip, reference = (
        start.astype(np.float64),
        NormClip(times=0.7),
        Optimiser(policy, job.model.count, np.float64),
    )
    batches, data, losses, clipped = Batches(job), Dataset(job.model, job.loss), [], 0.0
    for number in range(STEPS):
        rows, targets = batches.next(exact)
        data.add(rows, targets)
        if number == 0:
            clip.note(sum_by_rows(job.model, job.loss, job.model.untaught(), rows, targets, np.inf).norms, 1)
        found = sum_by_rows(job.model, job.loss, exact, rows, targets, clip.bound)
        clipped += (found.norms > clip.bound).mean() / STEPS
        reference.apply(exact, found.gradient / BATCH)
        losses.append(found.loss)
    assert 0.1 < clipped < 0.9
    me = make(job, data=data, policy=policy, clip=NormClip(times=0.7))
    me.load(start)
    assert [step_on(me, number) for number in range(STEPS)] == pytest.approx(losses, rel=1e-4)
    assert np.abs(me.weights() - exact).max() <= TOLERANCE[optimiser]


def step_on(learner: Any, number: int) -> float:
    """Take a step on a batch of the training rows."""
    chosen = np.arange(number * BATCH, (number + 1) * BATCH, dtype=np.int32)
    if hasattr(learner, "run"):
        return float(learner.run(chosen[None])[0])
    train = learner.data.train
    return float(learner.step(train.rows[chosen], train.targets[chosen]))


def test_one_row_moves_the_weights_by_no_more_than_the_others(make: Make) -> None:
    job = task("none", "mean_squared_error")
    rows, targets = job.batch(np.random.default_rng(0), 500)
    rows[7] *= 100
    data = Dataset(job.model, job.loss)
    data.add(rows, targets)
    rate, moved = 1e-5, {}
    for is_on in (False, True):
        me = make(job, data=data, policy=OptimiserPolicy("sgd", rate), clip=NormClip(is_on=is_on))
        me.train(120)
        moved[is_on] = np.linalg.norm(me.weights() - job.model.initial(0))
    typical = np.median(sum_by_rows(job.model, job.loss, job.model.initial(0), rows, targets, np.inf).norms)
    assert moved[True] <= 120 * rate * 8 * typical
    assert moved[False] > 3 * moved[True]


def test_a_learner_says_which_rows_it_trains_on_and_no_others_count(make: Make) -> None:
    """Floors count what is drawn: a row that was not has no part in the weights, one that was has."""
    job, drawn = task("dense-relu", CLASSES), list[int]()

    def trained_on(data: Dataset) -> np.ndarray:
        drawn.clear()
        data.train.on_draw = lambda indices: drawn.extend(indices.tolist())
        learner = make(job, data=data)
        assert learner.train(3).steps == 3
        return learner.weights()

    weights, said = trained_on(dataset(job)), list(drawn)
    assert len(said) == 3 * 16
    others = sorted(set(range(60)) - set(said))
    assert others, "some rows were not drawn"
    changed = dataset(job)
    changed.train.rows[others] += 3
    assert np.array_equal(trained_on(changed), weights)
    assert drawn == said
    changed.train.rows[said[0]] += 3
    assert not np.array_equal(trained_on(changed), weights)
