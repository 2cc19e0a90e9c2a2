"""TLS 1.3 between members without authorities: the server's certificate is made of its member key, and compared.

All of a certificate but its signature follows from the key, so that one comparison of bytes proves which key the other
end has shown to hold. RFC 5280, RFC 8410.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from learnae.adapters.http.connection import Connection
from learnae.basics.overriding import override
from learnae.errors import ConfigurationError, EncodingError
from learnae.protocol.identity import Identity, author_of_name
from learnae.system.private_files import make_private

if TYPE_CHECKING:
    import ssl

_ED25519 = bytes.fromhex("300506032b6570")  # the algorithm, of key and signature
_NAME = bytes.fromhex("06035504030c076c6561726e6165")  # commonName = learnae, in UTF-8
_TIMES = b"\x17\x0d700101000000Z" + b"\x18\x0f99991231235959Z"  # a board's clock may say anything
_SEQUENCE, _SET, _BITS = 0x30, 0x31, 0x03


def key_of(peer: str) -> bytes:
    """Return the public key whose name is ``peer``; raises ConfigurationError.

    >>> key_of("a" * 52) == bytes(32)
    True
    """
    try:
        return author_of_name(peer)
    except EncodingError as error:
        raise ConfigurationError(
            f"{peer[:60]!r} is no peer's name", "copy its 52 characters from `learnae peers`"
        ) from error


def certificate_of(identity: Identity) -> bytes:
    """Return the certificate of a member's key, signed by itself, as DER."""
    body = _body_of(identity.author)
    return _der(_SEQUENCE, body, _ED25519, _der(_BITS, b"\0", identity.sign(body)))


def server_context(identity: Identity, key_file: Path) -> ssl.SSLContext:
    """Return the server's side; ``key_file`` holds the key of ``identity``. Raises OSError."""
    import ssl  # noqa: PLC0415 - three megabytes, only then

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # members stay connected
    context.set_alpn_protocols(["http/1.1"])
    pem = ssl.DER_cert_to_PEM_cert(certificate_of(identity))
    make_private(key_file.parent)
    with tempfile.NamedTemporaryFile("w", dir=key_file.parent, prefix=".certificate-") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name, key_file)
    return context


class WrongKeyError(OSError):
    """Another machine answers than the member that was expected."""


@cache
def _client_context() -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - see above

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no authority knows a member: its key is compared
    return context


class PinnedConnection(Connection):
    """Connects to the holder of ``key`` alone: nothing is sent before that is certain."""

    def __init__(self, host: str, port: int, key: bytes) -> None:
        super().__init__(host, port)
        self._key = key

    @override
    def connect(self) -> None:
        """Connect, and compare the key; raises WrongKeyError or another OSError."""
        super().connect()
        assert self.sock is not None
        encrypted = self.sock = _client_context().wrap_socket(self.sock, do_handshake_on_connect=False)
        encrypted.do_handshake()
        shown = encrypted.getpeercert(True) or b""
        start = _der(_SEQUENCE, _body_of(self._key), _ED25519, bytes(_SIGNATURE_FIELD))[:-_SIGNATURE_FIELD]
        if len(shown) != len(start) + _SIGNATURE_FIELD or not shown.startswith(start):
            raise WrongKeyError("another key answers than that of the peer in the address")


_SIGNATURE_FIELD = 67  # 64 bytes of signature in a bit string


def _body_of(key: bytes) -> bytes:
    """Return what is signed of a certificate: version 1, number 1, for ever."""
    name = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _NAME)))
    public = _der(_SEQUENCE, _ED25519, _der(_BITS, b"\0", key))
    return _der(_SEQUENCE, b"\x02\x01\x01", _ED25519, name, _der(_SEQUENCE, _TIMES), name, public)


def _der(tag: int, *parts: bytes) -> bytes:
    """Return a value of at most 65535 bytes with its tag and length."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + body
