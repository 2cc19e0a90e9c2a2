"""pyota 2.1.0 and its codecs: imported here alone, with a stand-in for ``pkg_resources``, which is gone."""

import functools
import importlib
import importlib.metadata
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from learnae.adapters.iota.proof_of_work import ALPHABET
from learnae.errors import ConfigurationError, EncodingError
from learnae.system.installation import how_to_install

INSTALL_PYOTA = "pip install --no-deps pyota==2.1.0"

_import = threading.Lock()


@functools.cache
def load() -> Any:
    """Import the module ``iota``; raises ConfigurationError if it is not installed."""
    with _import, _stand_in(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes in its docstrings, for Pythons that mind
        try:
            importlib.import_module("filters")  # asks for pkg_resources, too
            return importlib.import_module("iota")
        except (ImportError, importlib.metadata.PackageNotFoundError) as error:
            raise ConfigurationError(
                f"pyota is not installed ({error})", f"{how_to_install('iota')} && {INSTALL_PYOTA}"
            ) from error


@contextmanager
def _stand_in() -> Iterator[None]:
    """Stand in for pkg_resources as far as pyota and its filters use it: it is gone, or refuses their requirements."""
    module: Any = types.ModuleType("pkg_resources")
    module.EntryPoint = importlib.metadata.EntryPoint
    module.require = lambda *names: [importlib.metadata.distribution(name) for name in names]
    module.iter_entry_points = lambda group, name=None: iter(
        importlib.metadata.entry_points(group=group, **({"name": name} if name else {}))
    )
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = before


def direct_session(authorities: str | bool) -> Any:
    """Make a session of requests, pyota's HTTP library, as for an own daemon: nothing of it is for the web.

    It asks no proxy of the environment, sends no password of ``.netrc``, and trusts ``authorities`` alone.
    """
    session = importlib.import_module("requests").Session()
    session.trust_env = False
    session.verify = authorities
    return session


def decode(trytes: str) -> bytes:
    """Decode bytes from pairs of trytes (pyota's codec); raises EncodingError."""
    try:
        data: bytes = load().TryteString(trytes).encode()
    except ValueError as error:
        raise EncodingError("a message that is no bytes") from error
    return data


def kerl(trytes: str) -> str:
    """Return Kerl's hash (81 trytes) of trytes (81 n), through pyota."""
    iota = load()
    sponge, trits = iota.crypto.kerl.Kerl(), [0] * 243
    sponge.absorb(iota.TryteString(trytes).as_trits())
    sponge.squeeze(trits)
    return str(iota.TryteString.from_trits(trits))


def integer(trytes: str) -> int:
    """Read a number in balanced ternary."""
    value = 0
    for tryte in reversed(trytes):
        index = ALPHABET.index(tryte.encode())
        value = 27 * value + (index if index <= 13 else index - 27)
    return value


def trytes_of(digest: bytes, length: int) -> str:
    """Return the first ``length`` trytes of a digest read as a number to the base of 27."""
    number, trytes = int.from_bytes(digest), bytearray()
    for _ in range(length):
        number, rest = divmod(number, 27)
        trytes.append(ALPHABET[rest])
    return trytes.decode()
