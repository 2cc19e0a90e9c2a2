"""TLS to others: certificates are always verified. ``ssl`` is imported late, as it takes 5 MB of a board's memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from learnae.errors import ConfigurationError
from learnae.system.credentials import credential_path

if TYPE_CHECKING:
    import ssl


def client_context(ca_file: str, cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Trusts what ``ca_file`` holds, or what the system trusts; shows ``cert_file``. Raises OSError or ValueError."""
    import ssl  # noqa: PLC0415 - only then

    authorities, certificate, key = (_path(name) for name in (ca_file, cert_file, key_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, names too, as strictly with every Python
    if authorities:
        context.load_verify_locations(authorities)
    else:
        context.load_default_certs()
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


class RenewedContext:
    """Stands for an SSLContext in paho: a new one for each connection, so that renewed files count at the next one.

    Client certificates live for days in some networks, a peer for months, and paho keeps the context of its start.
    Files that are bad at a later connection are a failed attempt like any other; an authority that is taken out of
    ``ca_file`` is distrusted from the next connection on. A connection costs reading three files.
    """

    check_hostname = True  # by the context, and not once more by paho

    def __init__(self, ca_file: str, cert_file: str, key_file: str) -> None:
        """Check the files; raises OSError or ValueError, as ``wrap_socket`` will if they are bad by then."""
        self._files = ca_file, cert_file, key_file
        client_context(*self._files)

    def wrap_socket(self, sock: Any, *, server_hostname: str, do_handshake_on_connect: bool = False) -> ssl.SSLSocket:
        """Wrap as ssl.SSLContext does, with the files as they are now."""
        context = client_context(*self._files)
        options: Any = {"server_hostname": server_hostname, "do_handshake_on_connect": do_handshake_on_connect}
        return context.wrap_socket(sock, **options)


def trusted(ca_file: str) -> str | bool:
    """Return authorities for ``requests``, True for its own; raises OSError or ValueError if ``ca_file`` has none."""
    import ssl  # noqa: PLC0415 - only then

    if ca_file:
        client_context(ca_file)
        return str(credential_path(ca_file))
    system = ssl.get_default_verify_paths()
    return system.cafile or system.capath or True


@contextmanager
def authorities_of(setting: str) -> Iterator[None]:
    """Turn an error about the certificates that ``setting`` names into a ConfigurationError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{setting}: {error}", "name a file of certificates in PEM") from error


def _path(name: str) -> str | None:
    return str(credential_path(name)) if name else None
