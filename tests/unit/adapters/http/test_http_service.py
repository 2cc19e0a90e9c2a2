"""What a member answers: the trustless gateway's form for raw blocks, and signed announcements."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.adapters.http.gossip import HttpGossip
from learnae.adapters.http.names import BlockName
from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.serving.requests import RefusedError, Request
from learnae.adapters.http.serving.service import Response, SwarmService
from learnae.adapters.http.serving.uploads import HttpUploads
from learnae.adapters.http.vector import MAX_BYTES, MAX_WANTS, Vector
from learnae.errors import BlockMissingError, EncodingError, PeerError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.ports import Heard
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.limits import Limits

SWARM, OTHER_SWARM = Cid.of(DAG_CBOR, b"swarm"), Cid.of(DAG_CBOR, b"another")
DATA, MESSAGE = b"weights", dagcbor.encode({"text": "weights"})
CID, HEAD = Cid.of(RAW, DATA), Cid.of(DAG_CBOR, MESSAGE)
STORE = {CID: DATA, HEAD: MESSAGE}
NEWS = Announcement((Entry(b"8 bytes!", 7, HEAD, HEAD),))
PATH = f"/learnae/1/{SWARM}/vector"
RAW_TYPE = "application/vnd.ipld.raw"


def get_block(cid: Cid) -> bytes:
    if cid not in STORE:
        raise BlockMissingError("it is not here")
    return STORE[cid]


@dataclass
class Desk:
    """A service with all that it is made of."""

    admits: Callable[[bytes], bool] = lambda _: True
    spent: list[int] = field(default_factory=list)
    has_bytes: bool = True

    def __post_init__(self) -> None:
        self.own = OwnVector(Identity.generate(), SWARM)
        self.gossip, self.uploads = HttpGossip(self.own), HttpUploads(self.own, 30.0, 30.0)
        self.service = SwarmService(
            SWARM, str(SWARM), get_block, self.own, self.gossip, self.uploads, self._spend, self.admits
        )

    def _spend(self, size: int, asker: bytes) -> bool:
        self.spent.append(size)
        return self.has_bytes

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in {"host": "b", **named}.items())
        request = Request.parse(f"{method} {target} HTTP/1.1\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode())
        self.service.check(request)
        return self.service.answer(request, body)

    def refusal(self, method: str, target: str, body: bytes = b"", **headers: str) -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            self.ask(method, target, body, **headers)
        return caught.value


@pytest.fixture
def desk() -> Desk:
    return Desk()


def cid_text(codec: int, digest: bytes, code: int = 0x12, base: str = "b") -> str:
    import base64

    data = bytes((1, codec, code, len(digest))) + digest
    return "f" + data.hex() if base == "f" else "b" + base64.b32encode(data).decode().rstrip("=").lower()


@pytest.mark.parametrize("codec", [RAW, DAG_CBOR, 0x70])
@pytest.mark.parametrize("base", ["b", "f"])
def test_a_block_is_answered_by_its_digest_whatever_its_name_says_besides(desk: Desk, codec: int, base: str) -> None:
    for cid, data in STORE.items():
        assert desk.ask("GET", f"/ipfs/{cid_text(codec, cid.digest, base=base)}?format=raw").body == data


@pytest.mark.parametrize("one", ["Qm" + "b" * 44, "k51qzi5uqu5dj", "zdj7W"])
def test_texts_that_only_look_like_names_are_none(desk: Desk, one: str) -> None:
    assert desk.refusal("GET", f"/ipfs/{one}?format=raw").status in (400, 404)


def test_names_of_version_0_and_other_bases_are_read() -> None:
    digest = Cid.of(RAW, b"hello").digest
    for text in ("QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5", "zb2rhZfjRh2FHHB2RkHVEvL2vJnCTcu7kwRqgVsf9gpkLgteo"):
        found = BlockName.parse(text)
        assert found.cids
        assert len(found.cids[0].digest) == len(digest)


LETTERS = st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", max_size=130)


@given(st.one_of(st.text(max_size=140), st.builds("".join, st.tuples(st.sampled_from("bfkzQ"), LETTERS))))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        name = BlockName.parse(text)
    except EncodingError:
        return
    assert all(len(cid.digest) == 32 for cid in name.cids)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_an_error(head: bytes) -> None:
    for text in (head, b"GET /ipfs/x?" + head, b"GET /ipfs/x HTTP/1.1\r\nHost: b\r\n" + head):
        try:
            request = Request.parse(text)
        except RefusedError:
            continue
        assert request.path.startswith("/")
        assert not set("\r\n") & set(request.path + "".join(request.headers.values()))


def test_an_answer_says_what_it_is_and_may_be_kept_for_ever(desk: Desk) -> None:
    found = desk.ask("GET", f"/ipfs/{CID}", accept=f"text/html, {RAW_TYPE};q=0.5")
    assert (found.status, found.body) == (200, DATA)
    assert found.headers == {
        "ETag": f'"{CID}.raw"',
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Ipfs-Path": f"/ipfs/{CID}",
        "X-Ipfs-Roots": str(CID),
        "Content-Type": RAW_TYPE,
        "Content-Disposition": f'attachment; filename="{CID}.bin"',
        "X-Content-Type-Options": "nosniff",
    }
    for name, shown in (("a.bin", "a.bin"), ('a"%0d%0aX: y', f"{CID}.bin"), ("../x", f"{CID}.bin")):
        said = desk.ask("GET", f"/ipfs/{CID}?format=raw&filename={name.replace(' ', '+')}")
        assert said.headers["Content-Disposition"] == f'attachment; filename="{shown}"'


@pytest.mark.parametrize("known", ['"{}.raw"', 'W/"{}.raw"', '"other", "{}.raw"', "*"])
def test_what_is_known_is_not_sent_again(desk: Desk, known: str) -> None:
    found = desk.ask("GET", f"/ipfs/{CID}?format=raw", if_none_match=known.format(CID))
    assert (found.status, found.body) == (304, b"")
    missing = Cid.of(RAW, b"missing")
    assert desk.refusal("GET", f"/ipfs/{missing}?format=raw", if_none_match=known.format(missing)).status == 404


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/ipfs/{cid}", {}, 400),
        ("/ipfs/{cid}", {"accept": "*/*"}, 406),
        ("/ipfs/{cid}", {"accept": "application/vnd.ipld.car"}, 406),
        ("/ipfs/{cid}", {"accept": RAW_TYPE + ";q=0"}, 406),
        ("/ipfs/{cid}?format=car", {"accept": RAW_TYPE}, 406),
        ("/ipfs/{cid}?format=", {"accept": "text/html"}, 406),
        ("/ipfs/{cid}/below?format=raw", {}, 400),
        ("/ipfs/{cid}x?format=raw", {}, 400),
        ("/ipfs/notacid?format=raw", {}, 400),
        ("/ipfs/{missing}?format=raw", {}, 404),
        ("/ipfs/{missing}?format=raw", {"cache_control": "only-if-cached"}, 412),
        ("/ipfs/{blake}?format=raw", {}, 404),
        ("/", {}, 404),
        ("/learnae/1/{other}/vector", {}, 404),
        ("/learnae/1/{swarm}/vector?wait=-1", {}, 400),
        ("/learnae/1/{swarm}/vector?wait=%E0", {}, 400),
    ],
)
def test_what_is_not_answered_has_the_status_of_the_specification(
    desk: Desk, target: str, headers: dict[str, str], status: int
) -> None:
    names = {
        "cid": CID,
        "missing": Cid.of(RAW, b"missing"),
        "blake": cid_text(RAW, bytes(32), code=0x1E),
        "other": OTHER_SWARM,
        "swarm": SWARM,
    }
    for method in ("GET", "HEAD"):
        assert desk.refusal(method, target.format(**names), **headers).status == status


def test_what_may_not_go_out_now_is_refused_and_a_head_costs_nothing(desk: Desk) -> None:
    desk.has_bytes = False
    refused = desk.refusal("GET", f"/ipfs/{CID}?format=raw")
    assert refused.status == 429
    assert refused.error is not None
    assert desk.ask("HEAD", f"/ipfs/{CID}?format=raw").status == 200
    assert desk.spent == [len(DATA)]


# -- announcements


def test_an_announcement_is_signed_and_waited_for(desk: Desk) -> None:
    first = desk.ask("GET", PATH)
    tag = first.headers["ETag"]
    assert tag == f'"{Cid.of(DAG_CBOR, first.body)}"'
    assert desk.ask("GET", PATH, if_none_match=tag).status == 304
    answers: list[Response] = []
    waiting = threading.Thread(target=lambda: answers.append(desk.ask("GET", f"{PATH}?wait=30", if_none_match=tag)))
    waiting.start()
    desk.own.say(NEWS)
    waiting.join(60)
    vector = Vector.from_bytes(answers[0].body, SWARM)
    assert (vector.by, vector.content) == (desk.own.by, NEWS)
    with pytest.raises(PeerError):
        Vector.from_bytes(answers[0].body, OTHER_SWARM)


def test_what_a_caller_says_is_heard_once_and_answered_with_the_own(desk: Desk) -> None:
    caller = Identity.generate()
    said = Vector(caller.author, 10**6, NEWS).to_bytes(SWARM, caller)
    for _ in range(2):
        assert Vector.from_bytes(desk.ask("POST", PATH, said).body, SWARM).by == desk.own.by
    assert list(desk.gossip.heard()) == [Heard(peer_name(caller.author), NEWS)]
    older, newer = (Vector(caller.author, time, Announcement()) for time in (10**6 - 1, 10**6 + 1))
    desk.ask("POST", PATH, older.to_bytes(SWARM, caller))
    assert list(desk.gossip.heard()) == [], "it was overtaken"
    set_back = Vector(caller.author, 7, NEWS).to_bytes(SWARM, caller)
    desk.ask("POST", PATH, set_back)
    assert list(desk.gossip.heard()) == [Heard(peer_name(caller.author), NEWS)], "a board without a battery"
    desk.ask("POST", PATH, newer.to_bytes(SWARM, caller))
    assert len(list(desk.gossip.heard())) == 1


def forged(caller: Identity) -> dict[str, tuple[bytes, int]]:
    """Announcements that must not be heard, and the status that they get."""
    good = Vector(caller.author, 7, NEWS)
    data = good.to_bytes(SWARM, caller)
    fields = dagcbor.decode(data)
    too_many = [Cid.of(RAW, bytes((number,))) for number in range(MAX_WANTS + 1)]
    return {
        "empty": (b"", 400),
        "no map": (dagcbor.encode([1]), 400),
        "cut": (data[:-1], 400),
        "another swarm's": (good.to_bytes(OTHER_SWARM, caller), 403),
        "another's": (good.to_bytes(SWARM, Identity.generate()), 403),
        "changed": (dagcbor.encode({**fields, "time": 8}), 403),
        "more added": (dagcbor.encode({**fields, "zone": "x"}), 403),
        "too many wants": (dagcbor.encode({**fields, "wants": too_many}), 400),
        "no time": (dagcbor.encode({**fields, "time": -1}), 400),
        "no key": (dagcbor.encode({**fields, "by": b""}), 400),
    }


@pytest.mark.parametrize("kind", forged(Identity.generate()))
def test_forged_announcements_are_refused_and_not_heard(desk: Desk, kind: str) -> None:
    data, status = forged(Identity.generate())[kind]
    refused = desk.refusal("POST", PATH, data)
    assert refused.status == status
    assert refused.error is not None
    assert list(desk.gossip.heard()) == []


def test_strangers_are_not_listened_to() -> None:
    member, stranger = Identity.generate(), Identity.generate()
    desk = Desk(admits=lambda by: by == member.author)
    for caller in (member, stranger):
        said = Vector(caller.author, 7, NEWS).to_bytes(SWARM, caller)
        if caller is member:
            assert desk.ask("POST", PATH, said).status == 200
        else:
            assert "no member" in str(desk.refusal("POST", PATH, said).error)
    assert [heard.announcer for heard in desk.gossip.heard()] == [peer_name(member.author)]


def test_the_largest_announcement_fits() -> None:
    caller, limits = Identity.generate(), Limits()
    links = [Cid.of(DAG_CBOR, number.to_bytes(2)) for number in range(max(limits.kept, MAX_WANTS, limits.entries) + 1)]
    entries = tuple(
        Entry(number.to_bytes(8), 2**53 - 1, links[number], links[number + 1]) for number in range(limits.entries)
    )
    full = Vector(caller.author, 2**53, Announcement(entries, tuple(links[: limits.kept])), tuple(links[:MAX_WANTS]))
    data = full.to_bytes(SWARM, caller)
    assert len(data) <= MAX_BYTES
    assert Vector.from_bytes(data, SWARM) == full


# -- what callers bring


def test_only_what_was_asked_for_is_read_and_only_if_it_is_that(desk: Desk) -> None:
    cid, data = Cid.of(RAW, b"lost"), b"lost"
    unasked = desk.refusal("PUT", f"/ipfs/{cid}", data)
    assert unasked.status == 409
    assert "not asked for" in str(unasked.error)
    caller = Identity.generate()
    desk.ask("POST", PATH, Vector(caller.author, 7, NEWS).to_bytes(SWARM, caller))
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(desk.uploads.fetch(cid)))
    tag = desk.own.current()[1]
    waiting.start()
    wanting = desk.own.changed_from(tag, 60)
    assert wanting is not None
    assert Vector.from_bytes(wanting[0], SWARM).wants == (cid,)
    assert desk.refusal("PUT", f"/ipfs/{cid}", b"poison").status == 400
    assert desk.ask("PUT", f"/ipfs/{cid}", data).status == 204
    waiting.join(60)
    assert found == [data]
    assert Vector.from_bytes(desk.own.current()[0], SWARM).wants == ()
    assert desk.ask("PUT", f"/ipfs/{cid}", data).status == 204, "another caller brings it, too"


def test_where_no_member_calls_nothing_is_waited_for(desk: Desk) -> None:
    with pytest.raises(BlockMissingError):
        desk.uploads.fetch(CID)
    assert desk.own.current() == desk.own.current()
