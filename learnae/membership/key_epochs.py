"""Key epochs: secrets that the present members share. Placeholder until the real one is merged."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from learnae.membership.ledger import Ledger
from learnae.membership.records import Join, Record, Rekey, Welcome
from learnae.protocol.identity import Identity


def _key(shared: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, info).derive(shared)


class Keyring:
    def __init__(self, identity: Identity, ledger: Ledger) -> None:
        self._me = identity
        self._ledger = ledger

    @property
    def secrets(self) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for record in self._ledger.records():
            body = record.body
            if isinstance(body, Rekey):
                box = dict(body.sealed).get(self._me.author)
                if box:
                    plain = self._open(body.ephemeral, box, b"rekey")
                    if plain:
                        found[record.cid.digest[:8]] = plain
            elif isinstance(body, Welcome):
                join = self._ledger.get(body.join)
                if join and join.author == self._me.author:
                    plain = self._open(body.ephemeral, body.sealed, b"welcome")
                    if plain:
                        found[body.epoch] = plain[32:]
        return found

    @property
    def root(self) -> bytes | None:
        return bytes(32) if self.secrets else None

    def _open(self, ephemeral: bytes, box: bytes, info: bytes) -> bytes | None:
        key = _key(self._me.agree(ephemeral), info)
        try:
            return ChaCha20Poly1305(key).decrypt(bytes(12), box, None)
        except InvalidTag:
            return None

    def current(self, removed: Collection[bytes]) -> tuple[bytes, bytes] | None:
        secrets = self.secrets
        names = sorted(
            record.cid.to_bytes()
            for record in self._ledger.records()
            if isinstance(record.body, Rekey)
            and set(removed) <= set(record.body.excludes)
            and record.cid.digest[:8] in secrets
        )
        return (names[0][4:12], secrets[names[0][4:12]]) if names else None

    def mint(self) -> Rekey:
        ephemeral, secret, roster = X25519PrivateKey.generate(), os.urandom(32), self._ledger.roster()
        sealed = []
        for key, member in sorted(roster.members.items()):
            box = _key(ephemeral.exchange(X25519PublicKey.from_public_bytes(member.x25519)), b"rekey")
            sealed.append((key, ChaCha20Poly1305(box).encrypt(bytes(12), secret, None)))
        return Rekey(tuple(sorted(roster.removed)), ephemeral.public_key().public_bytes_raw(), tuple(sealed))

    def welcome_for(self, join: Record) -> Welcome:
        assert isinstance(join.body, Join)
        current = self.current(self._ledger.roster().removed)
        assert current is not None
        ephemeral = X25519PrivateKey.generate()
        box = _key(ephemeral.exchange(X25519PublicKey.from_public_bytes(join.body.x25519)), b"welcome")
        sealed = ChaCha20Poly1305(box).encrypt(bytes(12), bytes(32) + current[1], None)
        return Welcome(join.cid, current[0], ephemeral.public_key().public_bytes_raw(), sealed)
