"""Who is a member, from docs/protocol.md alone: sets and recursion, slow, and no code of the library.

Records come as ``golden.reader`` decodes them: maps whose links are {"/": text}, by their names.
"""

from collections.abc import Collection, Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from golden.reader import bytes_of, decode, link, links, need, octets, whole

Names = frozenset[str]
Peers = frozenset[bytes]
LARGEST = {"record": 1 << 12, "rekey": 1 << 16, "time": 1 << 53}


# -- one record


def read_record(data: bytes, swarm: str) -> dict[str, Any]:
    """Read and verify a record of ``swarm``; what depends on its past is not here."""
    need(len(data) > 111 and 0xA7 <= data[0] <= 0xB7 and data[1:9] == b"\x61v\x01\x62by\x58\x20", "no record")
    need(data[41:47] == b"\x63sig\x58\x40", "no record")
    try:
        signed = b"learnae/record/1" + bytes([data[0] - 1]) + data[1:41] + data[111:]
        Ed25519PublicKey.from_public_bytes(data[9:41]).verify(data[47:111], signed)
    except InvalidSignature as error:
        raise ValueError("not signed by its author") from error
    fields = decode(data, LARGEST["rekey"])
    need({"body", "past", "time", "swarm"} <= set(fields), "a field is missing")
    need(fields["swarm"] == {"/": swarm} and links(fields["past"], 64), "swarm or past")
    need(whole(fields["time"], 0, LARGEST["time"]), "time")
    body = fields["body"]
    need(isinstance(body, dict) and isinstance(body.get("kind"), str), "body without a kind")
    need(len(data) <= LARGEST["rekey" if body["kind"] == "rekey" else "record"], "too long")
    check = CHECKS.get(body["kind"])
    need(check is None or check(body), "body")
    return fields


def ascending(keys: list[Any]) -> bool:
    return all(octets(key, 32) for key in keys) and keys == sorted(set(keys))


def is_rekey(body: dict[str, Any]) -> bool:
    boxes = body["sealed"]
    need(isinstance(boxes, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in boxes), "sealed")
    need(ascending([key for key, _ in boxes]) and all(octets(box, 48) for _, box in boxes), "sealed")
    return ascending(body["excludes"]) and octets(body["ephemeral"], 32) and octets(body["root"], 48)


CHECKS: dict[str, Any] = {
    "invite": lambda body: (
        octets(body["key"], 32)
        and whole(body["uses"], 1, 16)
        and whole(body["expires"], 0, LARGEST["time"])
        and body["role"] in ("any", "agent", "trainer")
    ),
    "uninvite": lambda body: link(body["invite"]),
    "join": lambda body: (
        octets(body["x25519"], 32)
        and (link(body["via"]) and octets(body["proof"], 64) if body["via"] else body["proof"] is None)
    ),
    "welcome": lambda body: (
        link(body["join"]) and octets(body["epoch"], 8) and octets(body["ephemeral"], 32) and octets(body["sealed"], 48)
    ),
    "vote": lambda body: (
        octets(body["peer"], 32)
        and body["choice"] in ("remove", "admit")
        and (body["join"] is None or (link(body["join"]) and body["choice"] == "admit"))
    ),
    "rekey": is_rekey,
}


# -- secrets


def derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, info).derive(secret)


def open_box(seed: bytes, record: dict[str, Any], box: bytes, context: bytes, bound: bytes) -> bytes:
    """Open a box that a record holds for the peer with this Ed25519 seed."""
    own = X25519PrivateKey.from_private_bytes(derive(seed, b"learnae/x25519/1"))
    ephemeral = record["body"]["ephemeral"]
    shared = own.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    key = derive(shared, context + ephemeral + own.public_key().public_bytes_raw())
    return ChaCha20Poly1305(key).decrypt(bytes(12), box, bytes_of(record["swarm"]["/"]) + record["by"] + bound)


def open_rekey(seed: bytes, by: bytes, rekey: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the secret of a rekey for its member ``by``, and the root secret."""
    body = rekey["body"]
    bound = b"".join(body["excludes"])
    secret = open_box(seed, rekey, dict(map(tuple, body["sealed"]))[by], b"learnae/rekey/1", bound)
    return secret, open_root(secret, rekey)


def open_root(secret: bytes, rekey: dict[str, Any]) -> bytes:
    body = rekey["body"]
    bound = bytes_of(rekey["swarm"]["/"]) + rekey["by"] + b"".join(body["excludes"])
    return ChaCha20Poly1305(derive(secret, b"learnae/hand-on/1")).decrypt(bytes(12), body["root"], bound)


def open_welcome(seed: bytes, welcome: dict[str, Any]) -> bytes:
    """Return the secret that a welcome hands on."""
    body = welcome["body"]
    bound = bytes_of(body["join"]["/"]) + body["epoch"]
    return open_box(seed, welcome, body["sealed"], b"learnae/welcome/1", bound)


# -- who is a member


class Swarm:
    """The rules of one manifest for ``records``, by name."""

    def __init__(self, cid: str, membership: dict[str, Any], records: dict[str, dict[str, Any]]) -> None:
        self.cid, self.kind, self.votes = cid, membership["kind"], membership["votes"]
        self.founders = frozenset(founder["key"] for founder in membership["founders"])
        self.records = records
        self.pasts: dict[str, Names] = {}
        self.known: dict[Names, tuple[Peers, Peers, Names]] = {}
        self.truth: dict[str, bool] = {}
        self.right: dict[str, bool] = {}

    def members(self) -> tuple[Peers, Peers]:
        """Return who is in, and who was removed."""
        let_in, removed, _ = self.standing(frozenset(name for name in self.records if self.is_true(name)))
        return let_in - removed, removed

    # -- one record and its past

    def by(self, name: str) -> bytes:
        return self.records[name]["by"]

    def body(self, name: str) -> dict[str, Any]:
        return self.records[name]["body"]

    def named(self, name: str, field: str) -> str | None:
        return (self.body(name).get(field) or {"/": None})["/"]

    def needs(self, name: str) -> set[str]:
        field = {"uninvite": "invite", "join": "via", "welcome": "join", "vote": "join"}.get(self.body(name)["kind"])
        named = self.named(name, field) if field else None
        return {link["/"] for link in self.records[name]["past"]} | ({named} if named else set())

    def past(self, name: str) -> Names:
        if name not in self.pasts:
            needs = self.needs(name)
            self.pasts[name] = frozenset(needs).union(*(self.past(one) for one in needs))
        return self.pasts[name]

    def is_true(self, name: str) -> bool:
        """Return False for what is to be refused, and for what needs a record that is not here."""
        if name not in self.truth:
            whole = name in self.records and all(self.is_true(one) for one in self.needs(name))
            self.truth[name] = whole and (
                self.is_join(name) if self.body(name)["kind"] == "join" else self.was_member(self.by(name), name)
            )
        return self.truth[name]

    def is_join(self, name: str) -> bool:
        via, proof = self.named(name, "via"), self.body(name)["proof"]
        if via is None or self.kind != "invite":
            return via is None and self.kind != "invite"
        if self.body(via)["kind"] != "invite":
            return False
        try:
            key = Ed25519PublicKey.from_public_bytes(self.body(via)["key"])
            key.verify(proof, b"learnae/join/1" + bytes_of(self.cid) + self.by(name))
        except (InvalidSignature, ValueError):
            return False
        return True

    def was_member(self, peer: bytes, name: str) -> bool:
        let_in, removed, _ = self.standing(self.past(name))
        return peer in let_in - removed

    def ever_let_in(self, records: Collection[str]) -> Peers:
        return self.founders | {self.joiner(name) for name in records if self.is_right(name)}

    def joiner(self, welcome: str) -> bytes:
        return self.by(self.named(welcome, "join") or "")

    def is_right(self, name: str) -> bool:
        if name not in self.right:
            self.right[name] = self.body(name)["kind"] == "welcome" and self.keeps_the_rules(name)
        return self.right[name]

    def keeps_the_rules(self, welcome: str) -> bool:
        past = self.past(welcome)
        let_in, removed, void = self.standing(past)
        join = self.named(welcome, "join") or ""
        if self.body(join)["kind"] != "join" or self.by(join) in removed | let_in:
            return False
        valid, inside = past - void, let_in - removed
        if self.kind != "invite":
            return len(self.vouchers(join, valid) & inside) >= self.votes
        invite = self.named(join, "via") or ""
        revokers = {self.by(name) for name in self.of_kind(valid, "uninvite") if self.named(name, "invite") == invite}
        users = {
            self.joiner(name)
            for name in valid
            if self.is_right(name) and self.named(self.named(name, "join") or "", "via") == invite
        }
        return (
            invite in valid
            and self.records[welcome]["time"] <= self.body(invite)["expires"]
            and self.by(invite) not in revokers
            and len(revokers & inside) < self.votes
            and len(users) < self.body(invite)["uses"]
        )

    def of_kind(self, records: Iterable[str], kind: str) -> list[str]:
        return [name for name in records if self.body(name)["kind"] == kind]

    def vouchers(self, join: str, records: Iterable[str]) -> Peers:
        return frozenset(
            self.by(name)
            for name in self.of_kind(records, "vote")
            if self.body(name)["choice"] == "admit"
            and self.body(name)["peer"] == self.by(join)
            and self.named(name, "join") == join
        )

    # -- a set of records

    def standing(self, records: Names) -> tuple[Peers, Peers, Names]:
        """Return who was let in, who was removed, and what is void in a set with the past of each."""
        if records not in self.known:
            self.known[records] = self.undone(records, self.that_count(records))
        return self.known[records]

    def target(self, name: str) -> bytes | None:
        """Return whom a voice is against; None for other records."""
        body = self.body(name)
        if body["kind"] == "leave":
            return self.by(name)
        is_voice = body["kind"] == "vote" and body["choice"] == "remove"
        return body["peer"] if is_voice and body["peer"] in self.ever_let_in(self.past(name)) else None

    def is_enough(self, voices: Iterable[str]) -> bool:
        voices = list(voices)
        return bool(self.of_kind(voices, "leave")) or len({self.by(name) for name in voices}) >= self.votes

    def lacking(self, voices: Iterable[str], against: bytes, name: str) -> list[str]:
        return [voice for voice in voices if self.target(voice) == against and name not in self.past(voice)]

    def undone(self, records: Names, counting: Names) -> tuple[Peers, Peers, Names]:
        targets = {self.target(voice) for voice in counting}
        removed = frozenset(
            peer for peer in targets if peer and self.is_enough(v for v in counting if self.target(v) == peer)
        )
        # whether votes to remove are void says nothing: they count by rule 5
        void = {
            name
            for name in records
            if self.by(name) in removed
            and self.body(name)["kind"] != "join"
            and self.target(name) is None
            and self.is_enough(self.lacking(counting, self.by(name), name))
        }
        let_in, before = set(self.founders), -1
        while before != len(let_in):
            before = len(let_in)
            let_in |= {
                self.joiner(name)
                for name in records - void
                if self.is_right(name) and self.by(name) in let_in and self.has_grounds(name, void, let_in)
            }
        void |= {name for name in records if self.by(name) not in let_in and self.body(name)["kind"] != "join"}
        void |= {name for name in records if self.is_right(name) and not self.has_grounds(name, void, let_in)}
        return frozenset(let_in), removed, frozenset(void)

    def has_grounds(self, welcome: str, void: Collection[str], let_in: Collection[bytes]) -> bool:
        join = self.named(welcome, "join") or ""
        if self.kind != "invite":
            return len(self.vouchers(join, self.past(welcome) - set(void)) & set(let_in)) >= self.votes
        invite = self.named(join, "via") or ""
        return invite not in void and self.by(invite) in let_in

    def that_count(self, records: Names) -> Names:
        voices = frozenset(name for name in records if self.target(name) is not None)
        voices -= self.answered(records, voices)
        confirmed: Names = frozenset()
        while True:
            least, most = self.bounds(records, voices, confirmed)
            disputed = self.undone(records, most)[1] - self.undone(records, least)[1]
            if not disputed:
                return most
            weights = self.weights(records, most, disputed)
            confirmed |= {v for v in most if weights.get(self.target(v) or b"") == max(weights.values())}

    def answered(self, records: Names, voices: Names) -> set[str]:
        answers = [
            name
            for name in self.of_kind(records, "vote")
            if self.body(name)["choice"] == "admit"
            and self.body(name)["peer"] in self.standing(self.past(name))[1]
            and not self.is_enough(self.lacking(voices, self.by(name), name))
        ]
        return {
            voice
            for voice in voices
            if len(
                {
                    self.by(name)
                    for name in answers
                    if self.body(name)["peer"] == self.target(voice) and voice in self.past(name)
                }
            )
            >= self.votes
        }

    def bounds(self, records: Names, voices: Names, confirmed: Names) -> tuple[Names, Names]:
        least = self.counted(records, voices, voices) | confirmed
        while True:
            most = self.counted(records, voices, least) | confirmed
            again = self.counted(records, voices, most) | confirmed
            if again == least:
                return least, most
            least = again

    def counted(self, records: Names, voices: Names, assumed: Names) -> Names:
        let_in, removed, _ = self.undone(records, assumed)

        def is_kept(name: str) -> bool:
            by = self.by(name)
            return by in let_in and (by not in removed or not self.is_enough(self.lacking(assumed, by, name)))

        return frozenset(
            voice
            for voice in voices
            if self.body(voice)["kind"] == "leave"
            or is_kept(voice)
            or any(map(is_kept, self.witnesses(records, voice)))
        )

    def witnesses(self, records: Names, voice: str) -> list[str]:
        return [
            name
            for name in records
            if voice in self.past(name) and self.body(name)["kind"] != "join" and self.was_member(self.by(voice), name)
        ]

    def weights(self, records: Names, voices: Names, disputed: Peers) -> dict[bytes, tuple[int, int]]:
        against = {v: self.target(v) or b"" for v in voices if self.target(v) in disputed}
        electorate = frozenset.intersection(*(self.ever_let_in(self.past(voice)) for voice in against))
        supporters: dict[bytes, set[bytes]] = {}
        for voice, peer in against.items():
            seen_by = {self.by(name) for name in self.witnesses(records, voice)}
            supporters.setdefault(peer, set()).update({self.by(voice), *seen_by} & electorate)
        spread = {by: len({p for v, p in against.items() if self.by(v) == by}) for by in map(self.by, against)}
        return {
            peer: (len(names), -max(spread[self.by(voice)] for voice, other in against.items() if other == peer))
            for peer, names in supporters.items()
        }
