"""A peer's identity: an Ed25519 key (RFC 8032) in a file that only its owner reads."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from learnae.errors import EncodingError, SealError, SignatureError, StateError
from learnae.system.atomic_files import create_once, is_there, writing
from learnae.system.private_files import make_private, read_private

PRIVATE_KEY_BYTES = PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
_MAX_KEY_FILE_BYTES = 4096
_EXCHANGE_CONTEXT = b"learnae/x25519/1"
_BEGIN, _END = b"-----BEGIN PRIVATE KEY-----\n", b"\n-----END PRIVATE KEY-----\n"
_NAMES = 1024  # that are remembered, as many as a tangle has authors: each is asked for at every announcement
_HEADER = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410: the key's DER but for its 32 bytes


class Identity:
    """A peer's private key; ``author`` is its public half (32 bytes)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.author: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """Make a new random identity, not stored anywhere."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """Return the identity of a 32-byte seed: for simulations that must replay."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read a PEM (PKCS #8) key file, which is its owner's alone from then on; raises StateError."""
        try:
            key = _from_pem(read_private(path, _MAX_KEY_FILE_BYTES))
        except FileNotFoundError as error:
            raise StateError(f"no key at {path}", "join the swarm first: learnae join") from error
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StateError(f"cannot read the key {path}: {why}", "restore it or join under a new name") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StateError(f"{path} is not an Ed25519 key", "restore it or join under a new name")
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path) -> Identity:
        """Read the key at ``path``, or create one there with mode 0600, atomically; its directory gets mode 0700.

        Raises StateError.
        """
        with writing(path):
            make_private(path.parent)
        if not is_there(path):
            create_once(path, _to_pem(Ed25519PrivateKey.generate().private_bytes_raw()), mode=0o600)
        return cls.load(path)

    def save(self, path: Path) -> None:
        """Keep this key at ``path``, with mode 0600; raises StateError if another is there, NotWrittenError."""
        is_new = create_once(path, _to_pem(self._key.private_bytes_raw()), mode=0o600)
        if not is_new and self.load(path).author != self.author:
            raise StateError(f"there is another key at {path}", "move it away")

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of ``data``."""
        return self._key.sign(data)

    @property
    def x25519(self) -> bytes:
        """Return the public X25519 key (RFC 7748) that secrets are sealed to; it follows from the private key."""
        return self._exchange_key().public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """Return the 32 bytes shared with the holder of a ``public`` X25519 key; raises SealError if that is none."""
        return agree(self._exchange_key(), public)

    def _exchange_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(derive(self._key.private_bytes_raw(), _EXCHANGE_CONTEXT))


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return the 32 bytes that both holders of two X25519 keys share; raises SealError if ``public`` is none."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise SealError("a public key of X25519 with which no secret can be shared") from error


def derive(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes that follow from ``secret`` (HKDF-SHA256, RFC 5869, without salt) for the use ``info``."""
    return HKDF(SHA256(), 32, None, info).derive(secret)


def _to_pem(seed: bytes) -> bytes:
    """Write an Ed25519 key (32 bytes) as PEM (PKCS #8), byte for byte as OpenSSL writes it."""
    return _BEGIN + base64.b64encode(_HEADER + seed) + _END


def _from_pem(data: bytes) -> object:
    """Read the key in a PEM file; what ``_to_pem`` writes needs none of OpenSSL's decoders (1.5 MB of memory)."""
    try:
        seed = base64.b64decode(data[len(_BEGIN) : -len(_END)]).removeprefix(_HEADER)
    except ValueError:
        seed = b""
    if len(seed) == PRIVATE_KEY_BYTES and _to_pem(seed) == data:
        return Ed25519PrivateKey.from_private_bytes(seed)
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - see above

    return serialization.load_pem_private_key(data, password=None)


def verify(author: bytes, signature: bytes, data: bytes) -> None:
    """Raise SignatureError unless ``author`` signed ``data``."""
    try:
        Ed25519PublicKey.from_public_bytes(author).verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(f"{peer_name(author)} did not sign this message") from error


@lru_cache(_NAMES)
def author_of_name(name: str) -> bytes:
    """Return the public key that ``peer_name`` writes as ``name``; raises EncodingError."""
    try:
        author = base64.b32decode(name.upper() + "====")
    except ValueError:
        author = b""
    if len(author) != PUBLIC_KEY_BYTES or peer_name(author) != name:
        raise EncodingError(f"a peer's key is {name[:64]!a}", "it has 52 characters of base32, in lower case")
    return author


@lru_cache(_NAMES)
def peer_name(author: bytes) -> str:
    """Return the text form of a peer's public key: 52 characters of base32, as in file and topic names."""
    return base64.b32encode(author).decode().rstrip("=").lower()
