"""Keys say what they may be where they are declared: sections refuse the rest, pages and ``keys`` show the same."""

import dataclasses
import json
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import AgentConfig
from firmware_bridge.config import BridgeConfig
from learnae.config.keys import Range, about
from learnae.config.reference import print_keys
from learnae.errors import ConfigurationError
from trainer_node.config import TrainerConfig

ROOT = Path(__file__).parents[3]
ROLES = {"agent": AgentConfig, "trainer": TrainerConfig, "bridge": BridgeConfig}


def declared() -> Iterator[tuple[str, type, dataclasses.Field[Any]]]:
    seen = set()
    for config in ROLES.values():
        for name, hint in get_type_hints(config).items():
            kind = get_args(hint)[1] if get_origin(hint) is dict else hint
            if kind not in seen:
                seen.add(kind)
                yield from ((name, kind, item) for item in dataclasses.fields(kind))


KEYS = list(declared())
BOUNDED = [case for case in KEYS if about(case[2]).range]
CHOSEN = [case for case in KEYS if about(case[2]).choices]


def made(kind: type, key: str, value: object, item: dataclasses.Field[Any]) -> object:
    of = {"kind": about(item).only[-1]} if about(item).only else {}
    return kind(**{**of, key: value})


def near(within: Range) -> st.SearchStrategy[float]:
    """Numbers at, within and beyond both ends, 0, huge ones and none at all."""
    ends = [within.least, 0.0, 1.0, *([] if within.most is None else [within.most])]
    at = [near for end in ends for near in (end, math.nextafter(end, -math.inf), math.nextafter(end, math.inf), -end)]
    return st.sampled_from(at) | st.floats() | st.integers(-(2**70), 2**70)


def may_be(within: Range, value: float) -> bool:
    if math.isnan(value):
        return False
    if value == 0 and within.zero:
        return True
    most = math.inf if within.most is None else within.most
    low = value > within.least if within.above else value >= within.least
    return low and (value < most if within.below else value <= most)


def test_every_key_of_every_role_says_what_it_means() -> None:
    assert len(KEYS) > 90
    assert [(name, item.name) for name, _, item in KEYS if not about(item).meaning] == []


@given(st.data())
def test_what_a_key_may_not_be_is_refused_by_name_with_what_it_may_be(data: st.DataObject) -> None:
    section, kind, item = data.draw(st.sampled_from(BOUNDED))
    within = about(item).range
    assert within is not None
    value = data.draw(near(within))
    if may_be(within, value):
        assert getattr(made(kind, item.name, value, item), item.name) == value
        return
    with pytest.raises(ConfigurationError) as caught:
        made(kind, item.name, value, item)
    assert caught.value.problem.removeprefix("source") == f"{section}.{item.name} is {value}".removeprefix("source")
    assert str(within) in caught.value.remedy


def test_all_choices_are_taken_and_nothing_else() -> None:
    assert len(CHOSEN) >= 9
    for section, kind, item in CHOSEN:
        for choice in about(item).choices:
            if section != "source":  # some of its kinds want more keys
                assert getattr(kind(**{item.name: choice}), item.name) == choice
        with pytest.raises(ConfigurationError, match=f"{section}.{item.name} is 'no such'"):
            kind(**{item.name: "no such"})


def test_pages_of_keys_are_as_the_program_has_them() -> None:
    pages: dict[Path, str] = runpy.run_path(str(ROOT / "scripts" / "write-key-pages"))["pages"]()
    assert len(pages) == len(ROLES)
    assert [path.name for path, text in pages.items() if path.read_text() != text] == [], "run make docs"


def test_keys_are_printed_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    print_keys(AgentConfig)
    said = capsys.readouterr().out
    assert "[sources.NAME]  any number, each with a name and the keys of [source]\n" in said
    assert "cpu = 0.0    LEARNAE_RESOURCES__CPU\n" in said
    print_keys(AgentConfig, "[sources].hold", as_json=True)
    (hold,) = json.loads(capsys.readouterr().out)
    assert hold["variable"] == "LEARNAE_SOURCES__NAME__HOLD"
    assert hold["range"]["most"] == 86_400
    for wanted, known in (("resource", "resources"), ("train.share", "engine")):
        with pytest.raises(ConfigurationError, match=f"known are .*{known}"):
            print_keys(AgentConfig, wanted)
