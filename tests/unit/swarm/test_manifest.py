import doctest
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import damaged, escaped, linear_config, tiny_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TREES

from learnae.errors import ConfigurationError, ManifestError, ModelError
from learnae.ipld import dagcbor
from learnae.membership.policy import KINDS, Founder, MembershipPolicy
from learnae.models.optimisers import OptimiserPolicy
from learnae.protocol.limits import Limits
from learnae.swarm import manifest as manifest_module
from learnae.swarm.manifest import MAX_BYTES, MAX_COLUMNS, Manifest, TrainingPolicy
from learnae.swarm.presets import convolution_config, dense_config, preset
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import MergePolicy

DATA = tiny_manifest().to_bytes()


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    fields = dagcbor.decode(DATA)
    change(fields)
    return dagcbor.encode(fields)


def test_the_example_in_the_docstring_is_true() -> None:
    assert doctest.testmod(manifest_module) == (0, 5)


def test_a_manifest_reads_back_whole() -> None:
    manifest = Manifest(
        name="all",
        config=linear_config(),
        loss="mean_squared_error",
        seed=5,
        created=6,
        classes=("a", "b"),
        training=TrainingPolicy(7, 8),
        optimiser=OptimiserPolicy("adam", 0.1, 0.2, 0.3, 0.4, 0.5),
        merge=MergePolicy(0.5, 400, momentum=0.3),
        codec=FramePolicy("f32", "f16", 9),
        limits=Limits(horizon=5000, skew=10, interval=11),
    )
    again = Manifest.from_bytes(manifest.to_bytes())
    assert again == manifest
    assert again.swarm == manifest.swarm
    assert again.objective.name == "mean_squared_error"
    assert again.model.count == 3


# -- membership


FOUNDERS = [Founder(bytes([number]) * 32, bytes([100 + number]) * 32) for number in range(4)]


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_speak_reads_back_and_makes_another_swarm(kind: str) -> None:
    manifest = tiny_manifest(membership=MembershipPolicy.of(kind, FOUNDERS[::-1]))
    again = Manifest.from_bytes(manifest.to_bytes())
    assert (again, again.is_sealed, again.swarm) == (manifest, True, manifest.swarm)
    assert again.membership is not None
    assert [founder.key for founder in again.membership.founders] == [founder.key for founder in FOUNDERS]
    assert manifest.swarm != tiny_manifest().swarm
    assert not tiny_manifest().is_sealed


@pytest.mark.parametrize(("founders", "votes"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (64, 3)])
def test_half_of_the_founders_remove_a_member_at_most_three(founders: int, votes: int) -> None:
    keys = [Founder(bytes([number]) * 32, bytes(32)) for number in range(founders)]
    assert MembershipPolicy.of("invite", keys).votes == votes


GOOD = MembershipPolicy.of("vouched", FOUNDERS).to_fields()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "open"}, "kind is 'open'.*one of invite, vouched"),
        ({"founders": []}, "0 founders"),
        ({"founders": GOOD["founders"][::-1]}, "different keys, sorted"),
        ({"founders": GOOD["founders"][:1] * 2}, "different keys, sorted"),
        ({"founders": [{"key": bytes(31), "x25519": bytes(32)}]}, "founders.0.key is .*32 bytes"),
        ({"founders": [{"key": bytes(32), "x25519": "x"}]}, "founders.0.x25519 is"),
        ({"founders": [{"key": bytes(32)}]}, "no field 'x25519'"),
        ({"founders": [{**GOOD["founders"][0], "name": "ann"}, *GOOD["founders"][1:]]}, "does not know"),
        ({"founders": [{"key": bytes([n]) * 32, "x25519": bytes(32)} for n in range(65)]}, "at most 64"),
        ({"votes": 0}, "votes is 0"),
        ({"votes": 5}, "5 votes admit a member, and 4 founders can vote"),
        ({"votes": 65}, "votes is 65"),
        ({"votes": True}, "votes is True"),
        ({"later": 1}, "does not know"),
    ],
)
def test_a_membership_that_is_not_certain_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        Manifest.from_bytes(changed(lambda fields: fields.update(membership={**GOOD, **change})))


@given(TREES)
def test_any_membership_is_read_or_refused_with_a_named_error(membership: Any) -> None:
    cases = [changed(lambda fields: fields.update(membership=membership))]
    assert escaped(Manifest.from_bytes, cases, ConfigurationError) == set()


# -- columns


def test_named_columns_read_back_and_make_another_swarm() -> None:
    manifest = tiny_manifest(columns=("flow", "Temperatur °C"))
    again = Manifest.from_bytes(manifest.to_bytes())
    assert (again, again.columns) == (manifest, ("flow", "Temperatur °C"))
    swarms = {made.swarm for made in (manifest, tiny_manifest(), tiny_manifest(columns=("Temperatur °C", "flow")))}
    assert len(swarms) == 3


def test_a_manifest_without_columns_has_no_field_for_them() -> None:
    assert "columns" not in dagcbor.decode(DATA)
    with pytest.raises(ManifestError):
        Manifest.from_bytes(changed(lambda fields: fields.update(columns=[])))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["a"], r"1 column named \(a\); the model takes 2"),
        (["a", "b", "c"], r"3 columns named \(a, b, c\); the model takes 2"),
        (["a", "a"], "cannot be told apart by the name 'a'"),
        (["a", ""], "by the name ''"),
        (["a", " "], "by the name ' '"),
        (["a", "b "], "by the name 'b '"),
        (["a", "b\n"], "columns.1 is .* printable text of at most 64"),
        (["a", "\x1b[2J"], "columns.1 is .* printable"),
        (["a", "\u202eb"], "columns.1 is .* printable"),
        (["a", "b" * 65], "columns.1 is .* at most 64"),
        (["a", 1], "columns.1 is 1"),
        (["a", None], "columns.1 is None"),
        (["a", ["b"]], "columns.1 is"),
        ("ab", "columns is 'ab'"),
        ({"a": 1, "b": 2}, "columns is {"),
        (None, "columns is None"),
        (["a"] * (MAX_COLUMNS + 1), f"at most {MAX_COLUMNS} strings"),
    ],
)
def test_columns_that_name_nothing_are_refused(columns: object, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        Manifest.from_bytes(changed(lambda fields: fields.update(columns=columns)))


@given(st.lists(st.text(max_size=70) | TREES, max_size=3) | TREES)
def test_any_columns_are_read_or_refused_with_a_named_error(columns: Any) -> None:
    cases = [changed(lambda fields: fields.update(columns=columns))]
    assert escaped(Manifest.from_bytes, cases, ConfigurationError) == set()


def test_a_row_of_several_dimensions_has_a_column_for_each_value() -> None:
    columns = tuple(f"c{index}" for index in range(6))
    config = convolution_config((3, 2), ((4, 2, 1),), 1, "linear")
    assert Manifest("series", config, "huber", columns=columns).columns == columns
    with pytest.raises(ManifestError, match="takes 6"):
        Manifest("series", config, "huber", columns=columns[:3])


def test_a_swarm_with_features_has_channels_and_no_columns() -> None:
    with pytest.raises(ManifestError, match="its channels are the columns"):
        replace(preset("wrist", 0), columns=tuple(f"c{index}" for index in range(30)))


def test_two_definitions_are_two_swarms() -> None:
    swarms = {tiny_manifest(seed=seed, created=created).swarm for seed in range(2) for created in range(2)}
    assert len(swarms) == 4


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (None, "v", 2),
        (None, "membership", "closed"),
        (None, "privacy", "strict"),
        (None, "name", "a" * 65),
        (None, "seed", -1),
        (None, "created", 1.5),
        (None, "classes", ["a"] * 1025),
        (None, "features", []),
        (None, "later", 1),
        ("training", "steps", 0),
        ("training", "batch", 0),
        ("training", "later", 1),
        ("optimiser", "name", "lion"),
        ("optimiser", "learning_rate", -0.1),
        ("optimiser", "beta_1", 1.5),
        ("merge", "step", 1.5),
        ("merge", "step", -0.5),
        ("merge", "half_life", 0),
        ("codec", "keyframe", "q2"),
        ("codec", "keyframe", "sign"),
        ("codec", "delta", "q2"),
        ("codec", "every", 0),
        ("codec", "every", 1025),
        ("limits", "horizon", 999),
        ("limits", "skew", -1),
        ("limits", "interval", 0),
        ("limits", "parents", 9),
    ],
)
def test_what_this_version_does_not_keep_is_not_joined(section: str | None, name: str, value: object) -> None:
    data = changed(lambda fields: (fields[section] if section else fields).update({name: value}))
    with pytest.raises(ManifestError):
        Manifest.from_bytes(data)


@pytest.mark.parametrize(
    ("horizon", "skew", "half_life", "interval", "words"),
    [
        (86_400_000, 21_600_000, 60_000, 20, "less than a quarter of the horizon: below 21600000"),
        (366 * 86_400_000, 366 * 86_400_000, 60_000, 20, "limits.skew is 31622400000"),
        (1000, 0, 60_000, 20, "let the horizon be at least 600000, or the half-life at most 100"),
        (86_400_000, 0, 1, 20, "let the interval be at most the half-life"),
        (86_400_000, 0, 60_000, 3_600_000, "merge.half_life is 60000 and limits.interval 3600000"),
        (599_999, 0, 60_000, 20, "limits.horizon is 599999 and merge.half_life 60000"),
    ],
)
def test_times_that_undo_one_another_are_refused_with_the_choices(
    horizon: int, skew: int, half_life: int, interval: int, words: str
) -> None:
    data = changed(
        lambda fields: fields.update(
            limits={"horizon": horizon, "skew": skew, "interval": interval},
            merge={**fields["merge"], "half_life": half_life},
        )
    )
    with pytest.raises(ManifestError, match=words):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("name", list(dagcbor.decode(DATA)))
def test_no_field_may_be_missing(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Manifest.from_bytes(changed(lambda fields: fields.pop(name)))


def test_a_model_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ModelError):
        Manifest.from_bytes(changed(lambda fields: fields.update(model={"class_name": "Functional"})))
    with pytest.raises(ModelError, match="needs softmax"):
        Manifest.from_bytes(changed(lambda fields: fields.update(loss="sparse_categorical_crossentropy")))
    with pytest.raises(ModelError, match="not supported"):
        Manifest.from_bytes(changed(lambda fields: fields.update(loss="hinge")))


def test_the_models_input_is_as_wide_as_the_features() -> None:
    features = preset("wrist", 0).features
    with pytest.raises(ManifestError, match="as wide as"):
        Manifest("a", dense_config(29, (), 1, "linear"), "mean_squared_error", features=features)


def test_size_is_bounded() -> None:
    def pad(fields: dict[str, Any]) -> None:
        fields["model"]["padding"] = b"x" * MAX_BYTES

    with pytest.raises(ManifestError, match="at most"):
        Manifest.from_bytes(changed(pad))


def test_a_later_version_says_upgrade() -> None:
    with pytest.raises(ManifestError, match=r"manifest version 2; .*upgrade"):
        Manifest.from_bytes(changed(lambda fields: fields.update(v=2)))


def test_every_damage_is_refused_or_another_swarm() -> None:
    def read(data: bytes) -> None:
        manifest = Manifest.from_bytes(data)
        assert manifest.to_bytes() == data
        assert manifest.swarm != tiny_manifest().swarm

    assert escaped(read, list(damaged(DATA)), ConfigurationError) == set()


@given(st.binary(max_size=80) | TREES.map(dagcbor.encode))
def test_any_bytes_are_refused_with_a_named_error(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        Manifest.from_bytes(data)


@settings(max_examples=200)
@given(st.data(), TREES | st.sampled_from([[], {}, [None, 2], "", 0, -1, 1.5, None, True, 2**62]))
def test_any_value_anywhere_is_read_or_refused_with_a_named_error(draw: st.DataObject, value: Any) -> None:
    fields = dagcbor.decode(DATA)
    place, depth = fields, draw.draw(st.integers(0, 6))
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.draw(st.sampled_from(keys))
        if depth == 0 or not isinstance(place[key], (dict, list)) or not place[key]:
            place[key] = value
            break
        place, depth = place[key], depth - 1
    assert escaped(Manifest.from_bytes, [dagcbor.encode(fields)], ConfigurationError) == set()


@pytest.mark.parametrize("value", [[], {"class_name": []}, {"class_name": {}}], ids=repr)
def test_an_initialiser_of_any_type_is_refused_with_a_named_error(value: object) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["model"]["config"]["layers"][1]["config"]["kernel_initializer"] = value

    with pytest.raises(ModelError, match="kernel_initializer"):
        Manifest.from_bytes(changed(change))


def test_whole_numbers_can_be_given_for_constants() -> None:
    manifest = tiny_manifest(merge=MergePolicy(step=1), optimiser=OptimiserPolicy(learning_rate=1))
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
