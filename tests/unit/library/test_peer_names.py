"""Which names a peer may choose, and how names that others chose are shown: never taken for another, never garbled."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.basics.peer_names import harmless, told_apart, why_unclear
from learnae.errors import ConfigurationError
from learnae.ipld.fields import _UNPRINTABLE
from learnae.system.paths import check_peer_name, peer_directory

KEYS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=52, max_size=52)
# near misses: a few names, and what makes another of them that looks alike
NAMES = st.one_of(
    st.text(max_size=64),
    st.lists(
        st.sampled_from(
            [*"anAN1lI0oO-_ #\u2010", "rn", "m", "а", "о", "Α", "ａ", "\u0301", "\u200b", "\u202e", "\u3164", "水"]
        )
    ).map("".join),
)
ONE = "abcdefgh" + "2" * 44


@pytest.mark.parametrize(
    "name",
    [
        "pump-1",
        "pump #2",
        "Jörg",
        "мотор",
        "Σίσυφος",
        "モーター3",
        "pump水",
        "펌프",
        "ท\u0e35\u0e48 4",
        "नमस\u094dत\u0947",
        "שלום",
        "مضخة",
        "٣",
    ],
)
def test_names_of_all_scripts_are_taken_and_shown_as_they_are(name: str) -> None:
    assert why_unclear(name) == ""
    assert peer_directory(name).name == name
    assert told_apart({ONE: name}) == {ONE: name}


@pytest.mark.parametrize(
    ("name", "why"),
    {
        "аnn": "mixes letters of Cyrillic and Latin",
        "pumρ": "Greek and Latin",
        "сосо": "looks like a Latin one, as in 'coco'",
        "ΑΝΝΑ": "looks like a Latin one",
        "ꓐꓳꓐ": "looks like a Latin one",
        "ａｎｎ": "write 'ann'",
        "𝐚𝐧𝐧": "write 'ann'",
        "Jo\u0308rg": r"write 'J\\xf6rg', which is J",
        "a" + "\u0301" * 60: "stacks more than 2 marks",
        "\u0308ann": "begins with one",
        "an\u200bn": "U\\+200B",
        "ann\u202e": "U\\+202E",
        "ann\u2066": "U\\+2066",
        "ann\ue000": "U\\+E000",
        "\u3164": "U\\+3164",
        "ann\u2800": "U\\+2800",
        "ann\ufe0e": "U\\+FE0E",
        "ann\x1b[2J": "U\\+001B",
        " ann": "spaces at an end",
        "ann ": "spaces at an end",
        "ann  b": "two in a row",
        "ann#abcdefgh": "as if a piece of a key",
        "x" * 65: "65 characters",
    }.items(),
)
def test_a_name_that_is_not_what_it_looks_like_is_refused_and_never_shown_alone(name: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        check_peer_name("a peer", name)
    assert harmless(str(caught.value)) == " ".join(str(caught.value).split()), "the error itself shows it"
    assert told_apart({ONE: name})[ONE] == f"{harmless(name)}#abcdefgh"


@pytest.mark.parametrize("other", ["ann", "Ann", "аnn", "ａnn", "an\u200bn", "ann ", "ánn", "ann\ufe0e"])
def test_two_that_look_alike_both_show_a_piece_of_their_keys(other: str) -> None:
    two = "abcdefgh" + "3" * 44
    assert told_apart({ONE: "ann", two: other, "z" * 52: "bob"}) == {
        ONE: "ann#abcdefgh2",
        two: f"{harmless(other)}#abcdefgh3",
        "z" * 52: "bob",
    }


@given(st.dictionaries(KEYS, NAMES, max_size=6))
def test_whatever_peers_call_themselves_no_two_are_shown_alike(names: dict[str, str]) -> None:
    shown = told_apart(names)
    assert list(shown) == list(names)
    assert len({unicodedata.normalize("NFKC", text).casefold() for text in shown.values()}) == len(names)
    for key, text in shown.items():
        assert text.isprintable()
        assert harmless(text) == text
        piece = re.search("#([a-z2-7]{8,52})$", text)
        assert key.startswith(piece[1]) if piece else text in (names[key], key[:8]), "no piece is of another key"


def test_what_a_message_may_say_is_the_same_on_all_versions_of_python() -> None:
    """Else one message divides a swarm: who refuses it never attaches what follows it."""
    assigned = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) != "Cn"]
    assert [sign for sign in assigned if bool(_UNPRINTABLE.match(sign)) == sign.isprintable()] == []
    assert not _UNPRINTABLE.search("".join(map(chr, range(0x1FA70, 0x1FAFF)))), "of Unicode 15 and later, in part"
