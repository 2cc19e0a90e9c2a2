"""The manifest: the immutable definition of a swarm. The swarm's id is the CID of its bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from learnae.errors import EncodingError, ManifestError, ModelError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ipld.fields import Fields
from learnae.membership.policy import KINDS, MembershipPolicy
from learnae.models import optimisers
from learnae.models.definition import ModelDefinition
from learnae.models.losses import REGRESSIONS, Loss
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.outline import Model, Outline
from learnae.models.parameters import ParameterList, is_parameters
from learnae.privacy.policy import EACH, MASKED, NONE, PrivacyPolicy
from learnae.protocol.limits import HOUR, Limits
from learnae.swarm.features import Features, read_features
from learnae.text import counted, shown
from learnae.weights import codecs
from learnae.weights.frames import FramePolicy, block_count
from learnae.weights.merge import JUDGED, MEAN, OWN, RULES, MergePolicy
from learnae.weights.momentum import MOST

VERSION = 1
MAX_BYTES = 1 << 18  # a Keras configuration has 3 to 6 KB
MAX_CLASSES = 1024
MAX_COLUMNS = 1 << 14  # names of usual length fill a manifest
CLASSIFICATION, REGRESSION, FORECAST, AUTOENCODER = "classification", "regression", "forecast", "autoencoder"
OWN_LOOP = "own loop"  # the task that members' own programs alone know
NO_LOSS = "none"  # of such a swarm
OPEN = "open"  # who reaches the swarm is a member
_MAX_BLOCKS = 1024  # of the largest model's weights
_SKEWS_IN_HORIZON = 4
_HALF_LIVES_IN_HORIZON = 10
_YEAR = 366 * 24 * HOUR
_MAX_DECAY = 0.999999  # at 1, Adam divides by zero, and a momentum never ends
_LEAST = 1e-30  # above zero also in float32: at zero nothing is learnt, nothing merged, and Adam divides by zero


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """One update: ``steps`` optimiser steps on batches of ``batch`` rows."""

    steps: int = 26
    batch: int = 32


@dataclass(frozen=True, slots=True)
class Manifest:
    """A swarm's definition, checked. ``config`` is the model's Keras configuration as it was given.

    A model beyond the whitelist of ``models.definition`` is trained by Keras alone: ``outline`` describes
    it to the other peers. ``start`` names the blocks of the weights that all start from; without
    any, they are drawn from the ``seed``. ``columns`` are the names of a table's features, where the swarm
    defines no ``features``: the flat row of the model, in its order. Without any, they are as they stand in a file.
    ``membership`` says who may speak; None in an open swarm, which takes in all who reach it. ``privacy`` is what all
    members keep to.

    >>> from learnae.swarm.presets import dense_config
    >>> config = dense_config(inputs=3, hidden=(8,), outputs=2, final="softmax")
    >>> pump = Manifest("pump", config, "sparse_categorical_crossentropy", columns=("flow", "heat", "load"))
    >>> pump.task, pump.class_count, pump.model.count
    ('classification', 2, 50)
    >>> Manifest.from_bytes(pump.to_bytes()).swarm == pump.swarm
    True
    """

    name: str
    config: Mapping[str, Any]
    loss: str
    seed: int = 0
    created: int = 0  # Unix milliseconds: makes two swarms of one model different
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    features: Features | None = None
    training: TrainingPolicy = TrainingPolicy()
    optimiser: OptimiserPolicy = OptimiserPolicy()
    merge: MergePolicy = MergePolicy()
    codec: FramePolicy = FramePolicy()
    limits: Limits = Limits()
    outline: Outline | None = None
    start: tuple[Cid, ...] = ()
    membership: MembershipPolicy | None = None
    privacy: PrivacyPolicy = PrivacyPolicy()
    model: Model = field(init=False)
    only_keras: str = field(init=False)  # why no other learner can train the model; empty if all can

    def __post_init__(self) -> None:
        model: Model
        try:
            if is_parameters(self.config):
                model, reason = ParameterList.from_config(self.config), "members' own programs train it"
            else:
                model, reason = ModelDefinition.from_config(self.config), ""
        except ModelError as error:
            if self.outline is None:
                raise
            model, reason = self.outline, str(error)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "only_keras", reason)
        if self.is_own_loop:
            self._check_own_loop()
        else:
            Loss.for_model(self.loss, model)
        self._check_start()
        self._check_times()
        if self.merge.rule == JUDGED:
            self._check_judged()
        if self.merge.rule == OWN and ((self.only_keras and not self.is_own_loop) or self.privacy.training):
            raise ManifestError(
                "replicas cannot be judged on own rows here",
                "merge.rule own takes a model that all can compute, and no privacy.epsilon: what is merged would tell",
            )
        if self.membership is None and self.privacy.summary.sharing == MASKED:
            raise ManifestError(
                "masked summaries in an open swarm, where one program may be all members of a sum but one",
                "let members be invited (--membership invite), or let each summary be seen (--summaries each)",
            )
        if self.columns:
            self._check_columns()
        if self.features and model.input_shape != self.features.shape:
            raise ManifestError(
                f"the model takes {model.input_shape} and the features are {self.features.shape}",
                "make the model's input as wide as the features",
            )
        if self.features and self.features.ahead:
            self._check_forecast(self.features)

    def _check_own_loop(self) -> None:
        """Raise ManifestError for what only a model that peers know has."""
        more = {
            "an outline": self.outline,
            "classes": self.classes,
            "columns": self.columns,
            "features": self.features,
            "differential privacy": self.privacy.training,
            f"loss {self.loss}": self.loss != NO_LOSS,
        }
        if found := [name for name, value in more.items() if value]:
            raise ManifestError(
                f"{found[0]} in a swarm whose model is its parameters alone",
                f'leave that out: members\' own programs know what it is; its loss is "{NO_LOSS}"',
            )

    def _check_times(self) -> None:
        """Raise ManifestError for times that undo one another, such as clocks that differ by more than is remembered.

        All are milliseconds.
        """
        limits, half_life = self.limits, self.merge.half_life
        if limits.skew * _SKEWS_IN_HORIZON >= limits.horizon:
            raise ManifestError(
                f"limits.skew is {limits.skew} and limits.horizon {limits.horizon}",
                f"let skew be less than a quarter of the horizon: below {-(-limits.horizon // _SKEWS_IN_HORIZON)}, "
                f"or a horizon above {_SKEWS_IN_HORIZON * limits.skew}",
            )
        if half_life < limits.interval:
            raise ManifestError(
                f"merge.half_life is {half_life} and limits.interval {limits.interval}",
                "weights would be old before their author may speak again: let the interval be at most the half-life",
            )
        if limits.horizon < _HALF_LIVES_IN_HORIZON * half_life:
            raise ManifestError(
                f"limits.horizon is {limits.horizon} and merge.half_life {half_life}",
                f"peers would be forgotten whose weights still count: let the horizon be at least "
                f"{_HALF_LIVES_IN_HORIZON * half_life}, or the half-life at most "
                f"{limits.horizon // _HALF_LIVES_IN_HORIZON}",
            )

    def _check_judged(self) -> None:
        summary = self.privacy.summary
        if not self.class_count or self.only_keras or summary.form == NONE or summary.sharing != EACH:
            raise ManifestError(
                "replicas cannot be judged here",
                "merge.rule judged takes classes, a model that all can compute, and summaries that each member sends",
            )

    def _check_columns(self) -> None:
        if self.features:
            raise ManifestError("columns in a swarm with features", "leave them out: its channels are the columns")
        count = math.prod(self.model.input_shape)
        if len(self.columns) != count:
            raise ManifestError(
                f"{counted(len(self.columns), 'column')} named ({shown(self.columns)})",
                f"the model takes {count}: name each of these in their order, and no other",
            )
        times = Counter(self.columns)
        unusable = [name for name in times if times[name] > 1 or not name or name != name.strip()]
        if unusable:
            raise ManifestError(
                f"columns cannot be told apart by the name {unusable[0]!r}",
                "give each a name of its own, without spaces around it",
            )

    def _check_forecast(self, features: Features) -> None:
        if self.loss not in REGRESSIONS:
            raise ManifestError(f"a forecast with loss {self.loss}", f"use {' or '.join(REGRESSIONS)}")
        values = features.ahead * len(features.channels)
        if math.prod(self.model.output_shape) != values:
            raise ManifestError(
                f"the model's output is {self.model.output_shape}",
                f"a forecast of {features.ahead} samples of {len(features.channels)} channels has {values} values",
            )

    def _check_start(self) -> None:
        if self.outline and self.outline.count != self.model.count:
            raise ManifestError(
                f"the model has {self.model.count} parameters, its outline {self.outline.count}",
                "leave out the outline",
            )
        if not self.start and self.only_keras:
            raise ManifestError(
                "a model that peers cannot draw weights for has no starting weights", "name their blocks"
            )
        if self.start and len(self.start) != block_count(self.model.count):
            raise ManifestError(
                f"{len(self.start)} blocks of starting weights", f"the model has {block_count(self.model.count)}"
            )

    @property
    def is_own_loop(self) -> bool:
        """Return True if members' own programs train the model, of which peers know the parameters alone."""
        return isinstance(self.model, ParameterList)

    def check_known(self) -> None:
        """Raise ModelError for a model of which peers know the parameters alone: no trainer or agent can train it."""
        if self.is_own_loop:
            raise ModelError(
                f"of swarm {self.name!r} only the parameters are known: members' own programs train it",
                "join it with learnae.join (docs/api.md)",
            )

    @property
    def definition(self) -> ModelDefinition:
        """Return the model as every learner can train it; raises ModelError for one that only Keras can, or no one."""
        self.check_known()
        if not isinstance(self.model, ModelDefinition):
            raise ModelError(f"only Keras can train this swarm's model: {self.only_keras}", "use a trainer with Keras")
        return self.model

    @property
    def objective(self) -> Loss:
        """Return the loss as functions; raises ModelError where only members' own programs know it."""
        self.check_known()
        return Loss.for_model(self.loss, self.model)

    @property
    def task(self) -> str:
        """Name what is learnt: labels, values, what follows a window, or the rows (their errors show anomalies).

        OWN_LOOP where members' own programs alone know it.
        """
        if self.is_own_loop:
            return OWN_LOOP
        if self.loss not in REGRESSIONS:
            return CLASSIFICATION
        if self.features and self.features.ahead:
            return FORECAST
        return AUTOENCODER if self.model.output_shape == self.model.input_shape else REGRESSION

    @property
    def is_autoencoder(self) -> bool:
        """Return True if the target of a row is the row itself."""
        return self.task == AUTOENCODER

    @property
    def needs_labels(self) -> bool:
        """Return True if rows without a label cannot be learnt from."""
        return self.task in (CLASSIFICATION, REGRESSION)

    @property
    def class_count(self) -> int:
        """Count the classes that rows are told apart by; 0 where targets are no classes."""
        if self.loss == "sparse_categorical_crossentropy":
            return self.model.output_shape[-1]
        return 2 if self.loss == "binary_crossentropy" and self.model.output_shape == (1,) else 0

    @property
    def is_sealed(self) -> bool:
        """Return True if only members may speak, and what they say is encrypted."""
        return self.membership is not None

    @property
    def swarm(self) -> Cid:
        """Return the swarm's id."""
        return Cid.of(DAG_CBOR, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the manifest's block."""
        optimiser = {name: value if name == "name" else float(value) for name, value in asdict(self.optimiser).items()}
        return dagcbor.encode(
            {
                **({"outline": self.outline.to_fields()} if self.outline else {}),
                **({"start": list(self.start)} if self.start else {}),
                **({"columns": list(self.columns)} if self.columns else {}),
                "v": VERSION,
                "name": self.name,
                "seed": self.seed,
                "created": self.created,
                "model": self.config,
                "loss": self.loss,
                "classes": list(self.classes),
                "features": self.features.to_fields() if self.features else None,
                "training": asdict(self.training),
                "optimiser": optimiser,
                "merge": {
                    "step": float(self.merge.step),
                    "half_life": self.merge.half_life,
                    **({"rule": self.merge.rule} if self.merge.rule != MEAN else {}),
                    **({"momentum": float(self.merge.momentum)} if self.merge.momentum else {}),
                },
                "codec": asdict(self.codec),
                "limits": {name: getattr(self.limits, name) for name in ("horizon", "skew", "interval")},
                "membership": self.membership.to_fields() if self.membership else OPEN,
                "privacy": self.privacy.to_fields(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Decode and check a manifest; raises ManifestError or ModelError."""
        try:
            fields = Fields(dagcbor.decode(data, MAX_BYTES), "manifest", ManifestError)
        except EncodingError as error:
            raise ManifestError(f"not a manifest: {error}", "give the swarm's manifest.cbor, as it was made") from error
        if fields.integer("v") != VERSION:  # rules that are not known cannot be kept: such a swarm must not be joined
            raise ManifestError(f"manifest version {fields.integer('v')}", f"this peer reads {VERSION}: upgrade it")
        names = ("training", "optimiser", "merge", "codec", "limits")
        training, optimiser, merge, codec, limits = map(fields.fields, names)
        manifest = cls(
            name=fields.text("name"),
            config=fields.value("model"),
            loss=fields.text("loss"),
            seed=fields.integer("seed"),
            created=fields.integer("created"),
            classes=fields.texts("classes", MAX_CLASSES),
            columns=fields.texts("columns", MAX_COLUMNS) if "columns" in fields else (),
            features=None if fields.value("features") is None else read_features(fields.fields("features")),
            training=TrainingPolicy(training.integer("steps", 1, 10**6), training.integer("batch", 1, 10**6)),
            optimiser=OptimiserPolicy(
                name=optimiser.choice("name", optimisers.NAMES),
                learning_rate=optimiser.number("learning_rate", _LEAST, 1e3),
                momentum=optimiser.number("momentum", 0, _MAX_DECAY),
                beta_1=optimiser.number("beta_1", 0, _MAX_DECAY),
                beta_2=optimiser.number("beta_2", 0, _MAX_DECAY),
                epsilon=optimiser.number("epsilon", _LEAST, 1),
            ),
            merge=MergePolicy(
                merge.number("step", _LEAST, 1),
                merge.integer("half_life", 1, _YEAR),
                merge.choice("rule", RULES) if "rule" in merge else MEAN,
                merge.number("momentum", 0, MOST) if "momentum" in merge else 0.0,
            ),
            codec=FramePolicy(
                keyframe=codec.choice("keyframe", codecs.KEYFRAMES),
                delta=codec.choice("delta", codecs.NAMES),
                every=codec.integer("every", 1, 1024),
            ),
            limits=Limits(
                horizon=limits.integer("horizon", 1000, _YEAR),
                skew=limits.integer("skew", 0, _YEAR),
                interval=limits.integer("interval", 1, HOUR),
            ),
            outline=Outline.from_fields(fields.fields("outline")) if "outline" in fields else None,
            start=fields.links("start", _MAX_BLOCKS, (), repeated=True),
            membership=_read_membership(fields),
            privacy=PrivacyPolicy.from_manifest(fields),
        )
        if manifest.to_bytes() != data:
            raise ManifestError("the manifest has fields that this version does not know", "upgrade learnae")
        return manifest


def _read_membership(fields: Fields) -> MembershipPolicy | None:
    value = fields.value("membership")
    if isinstance(value, Mapping):
        return MembershipPolicy.from_fields(fields.fields("membership"))
    if value != OPEN:
        raise fields.error("membership", value, f'"{OPEN}", or a map of kind {" or ".join(KINDS)}')
    return None
