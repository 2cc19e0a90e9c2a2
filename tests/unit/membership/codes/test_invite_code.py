"""Invite codes: what is written is read, and one mistake is named before any network."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.errors import ConfigurationError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.membership.codes import code_text
from learnae.membership.codes.compact_addresses import normal, pack
from learnae.membership.codes.invite_code import (
    MAX_ADDRESS_BYTES,
    MAX_CHARACTERS,
    PREFIX,
    InviteCode,
    grouped,
    is_code,
    parse,
)
from learnae.membership.rendezvous import meeting_place

PEER = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
LONG = f"/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}"
SWARM = Cid.of(DAG_CBOR, b"manifest")
CODE = InviteCode(SWARM, bytes(range(32)), ("mqtts://broker.example.org", "http://192.0.2.7:7780"))

labels = st.from_regex("[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, max_size=2).map(lambda each: ".".join([*each, "example"]))
ips = st.ip_addresses(v=4).filter(lambda ip: not ip.is_multicast and not ip.is_unspecified)
ips6 = st.ip_addresses(v=6).filter(lambda ip: not ip.is_multicast and not ip.is_unspecified)
hosts = names | ips.map(str) | ips6.map("[{}]".format)
ports = st.just("") | st.integers(1, 65535).map(":{}".format)
schemes = st.sampled_from(["mqtt", "mqtts", "http", "https", "ws", "wss", "iota+http", "iota+https"])
multiaddresses = st.builds("/ip4/{}/{}/{}".format, ips, st.sampled_from(["tcp", "udp"]), st.integers(1, 65535))
addresses = st.builds("{}://{}{}".format, schemes, hosts, ports) | multiaddresses
logins = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=64)


@given(
    st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.lists(addresses, max_size=3), st.data()
)
def test_what_is_written_is_read(digest: bytes, seed: bytes, wanted: list[str], data: st.DataObject) -> None:
    wanted = [
        each for end, each in enumerate(wanted) if sum(map(len, map(pack, wanted[: end + 1]))) <= MAX_ADDRESS_BYTES
    ]
    is_broker = any(each.startswith(("mqtt", "ws")) for each in wanted)
    password = data.draw(st.none() | st.tuples(logins, logins)) if is_broker else None
    code = InviteCode(Cid(DAG_CBOR, digest), seed, tuple(wanted), password)
    text = code.to_text()
    assert re.fullmatch("LRN1[0-9A-Z]+", text)
    assert password or len(text) <= MAX_CHARACTERS
    typed = grouped(text).replace("0", "o").replace("1", "l").lower().replace(" ", " - ")
    assert parse(text) == parse(typed) == code
    assert seed.hex() not in repr(code)
    assert [normal(each) for each in code.addresses] == list(code.addresses)


def test_every_single_mistake_is_named() -> None:
    text = CODE.to_text()
    for place in range(len(PREFIX), len(text)):
        old, following = text[place], text[place + 1 : place + 2]
        new = code_text.ALPHABET[(code_text.ALPHABET.index(old) + 1 + place % 31) % 32]
        wrong = _refusal(text[:place] + new + text[place + 1 :])
        assert f"character {place + 1} (the {new} " in wrong
        assert f"; {old} fits there" in wrong
        if following and following != old:
            swapped = _refusal(text[:place] + following + old + text[place + 2 :])
            assert f"characters {place + 1} and {place + 2} ({following}{old} " in swapped
            assert f"; {old}{following} fits there" in swapped


@pytest.mark.parametrize("place", [4, 5, 40, 77, 100, -7, -6, -2, -1])
def test_a_character_that_is_missing_or_too_many_is_named(place: int) -> None:
    text = CODE.to_text()
    place %= len(text)
    missing = _refusal(text[:place] + text[place + 1 :])
    found = re.search("missing after the first ([0-9]+) .*; (.) fits there", missing)
    assert found, missing
    assert found[2] == text[place]
    assert set(text[int(found[1]) : place]) <= {text[place]}  # of equal ones in a row, any is the missing one
    extra = _refusal(text[:place] + "7" + text[place:])
    found = re.search(r"character ([0-9]+) \(the 7 in .* is too many", extra)
    assert found, extra
    assert set(text[place : int(found[1]) - 1] + text[int(found[1]) - 1 : place]) <= {"7"}


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(4, len(CODE.to_text()) - 1), min_size=2, max_size=3), st.data())
def test_two_or_three_mistakes_are_found(places: set[int], data: st.DataObject) -> None:
    letters = list(CODE.to_text())
    for place in places:
        letters[place] = data.draw(st.sampled_from([each for each in code_text.ALPHABET if each != letters[place]]))
    _refusal("".join(letters))


@given(st.text(max_size=500) | st.text(string.ascii_letters + string.digits, max_size=500).map(PREFIX.__add__))
def test_other_text_is_refused(text: str) -> None:
    assert _refusal(text)


@given(st.binary(max_size=260))
def test_other_bytes_behind_a_right_checksum_are_refused_or_written_as_they_are_read(tail: bytes) -> None:
    text = PREFIX + code_text.to_text(bytes(64) + tail)
    try:
        written = parse(text).to_text()
    except ConfigurationError:
        written = text
    assert written == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("LRN2ABC", "version 2, this program reads version 1; upgrade"),
        ("", "begins with ''; a code begins with LRN1"),
        ("4-orbit-piano", "begins with '4ORB'"),
        (CODE.to_text()[:60] + "U" + CODE.to_text()[61:], "character 61 ('U' in "),
        (CODE.to_text()[:60] + "Ä" + CODE.to_text()[61:], "character 61 ('Ä' in "),
        (CODE.to_text()[:60].lower() + "ß" + CODE.to_text()[61:].lower(), "character 61 ('ß' in "),
        (CODE.to_text()[:100], "more than one character"),
        ("LRN1" + "7" * 500, "a code of 504 characters"),
        ("7" * 5000, "5000 characters where a code is expected"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    assert said in _refusal(text)
    assert is_code(text) == text.upper().startswith("LRN")


@pytest.mark.parametrize(
    ("text", "is_one"), [("l rn-1", True), ("lrn.cbor", False), ("LRN1/m.cbor", False), ("lrn", False)]
)
def test_a_file_is_not_taken_for_a_code(text: str, is_one: bool) -> None:
    assert is_code(text) == is_one


@pytest.mark.parametrize(
    "address",
    [
        "broker.example.org",
        "ftp://host",
        "mqtt://",
        "mqtt://host:0",
        "mqtt://host:99999",
        "mqtt://host:x",
        "mqtt://user:word@host",
        "mqtt://host/path",
        "mqtt://host?",
        "http://host/p?token=word",
        "http://host/p#word",
        "http://0.0.0.0",
        "http://[::]",
        "http://[fe80::1%eth0]",
        "http://239.1.2.3",
        "http://127.1",
        "http://010.0.0.1",
        "http://0x7f000001",
        "http://münchen.example",
        "http://a..b",
        "http://-a.example",
        f"http://host/{'p' * 200}",
        "/",
        "/ip4",
        "/ip4/host/tcp/1",
        "/ip4/192.0.2.7/tcp/0",
        "/ip4/192.0.2.7/tcp/70000",
        "/ip4/192.0.2.7/sctp/7",
        "/ip4/192.0.2.7/tcp/4001/p2p/bafzaajaiaejca",
        "/ip4/192.0.2.7/tcp/4001/p2p/" + "1" * 1000,
        "/tls" * 16,
        "/unix/run/ipfs/api.sock",
    ],
)
def test_an_address_that_no_other_machine_can_use_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="does not fit into a code; ") as refused:
        InviteCode(SWARM, bytes(32), (address,))
    assert "word" not in str(refused.value)


def test_the_address_for_which_no_room_is_left_is_named() -> None:
    first, second = "mqtts://broker.example.org", f"http://{'a' * 40}.example"
    with pytest.raises(
        ConfigurationError, match=f"the address {second} needs 34 bytes in the code, where 28 of 42 are left"
    ):
        InviteCode(SWARM, bytes(32), (first, second))
    with pytest.raises(ConfigurationError, match="4 addresses in a code"):
        InviteCode(SWARM, bytes(32), tuple(f"mqtt://192.0.2.{number}" for number in range(4)))
    assert InviteCode(SWARM, bytes(32), ("http://A.example:80/", "http://a.example")).addresses == ("http://a.example",)


def test_an_ipfs_peer_with_its_key_fits() -> None:
    sha2 = "/dns4/gate.example/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
    assert normal(sha2) == sha2
    code = InviteCode(SWARM, bytes(32), (LONG,))
    assert parse(code.to_text()).addresses == (LONG,)
    assert len(code.to_text()) <= MAX_CHARACTERS


@pytest.mark.parametrize(
    "login", [("", "word"), ("user", ""), ("user", "w" * 65), ("us\ner", "word"), ("user", "\ud800")]
)
def test_a_login_that_does_not_fit_is_refused_and_not_repeated(login: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="does not fit into a code; use printable text of at most 64 bytes"):
        InviteCode(SWARM, bytes(32), ("mqtt://host",), login)


def test_a_login_needs_a_broker() -> None:
    with pytest.raises(ConfigurationError, match="no broker's address"):
        InviteCode(SWARM, bytes(32), ("http://host",), ("user", "word"))


def test_a_code_is_of_a_manifest() -> None:
    with pytest.raises(ConfigurationError, match="no swarm's id"):
        InviteCode(Cid.of(RAW, b"manifest"), bytes(32))


def test_text_and_meeting_stay_as_they_are() -> None:
    """Codes are on paper, and both sides derive the meeting."""
    assert CODE.to_text() == (
        "LRN10PSTQWJQK9FBCS03SNWBWNBZV1G66EGZW883RXJ20C6YZRSCCNZG00820C20A1G7104GM2RC1M70Y40H289H85"
        "8P2WC1J6GV3GEHW7RR286TEENQY0T0NX2PGV69EGP00010E7K4ANH6EZ"
    )
    assert meeting_place(CODE.identity.author) == "74lr5d6nkbg6bmyioqmnjzegqi"


def _refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert CODE.to_text()[20:60] not in str(refused.value)
    return str(refused.value)
