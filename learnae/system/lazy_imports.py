"""Keep modules that libraries import and a board never uses out of its memory: load them late, or hide them."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, find_spec
from types import ModuleType

_BUILT_IN_SHA = ("_sha256", "_sha2")  # until Python 3.11, and since; some distributions leave it to OpenSSL


class LazyFinder:
    """Finds these modules so that they are run at the first use of an attribute, not when imported.

    For modules that only one thread ever touches: before Python 3.12, a lazy module is not safe from two that
    touch it first at once. A second import of it counts as a touch. No ``MetaPathFinder``: to import that loads half a
    megabyte of others.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find these modules as usual, to be run late; None for all others."""
        if fullname not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def waits(name: str) -> bool:
    """Return True if a module is run only when it is first used."""
    return any(isinstance(finder, LazyFinder) and name in finder.names for finder in sys.meta_path)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Hide modules that are not loaded yet from code that would import them if it could."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: the import system's "not to be found"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def keep_libcrypto_out() -> None:
    """Let ``hashlib`` do without OpenSSL's libcrypto, 3.5 MB; call it before anything imports that. Idempotent.

    What is hashed faster by it is large: see learnae.basics.hashes.
    """
    if any(map(find_spec, _BUILT_IN_SHA)):
        with without("_hashlib"):
            import hashlib  # noqa: F401, PLC0415 - both remember what they have found
            import hmac  # noqa: F401, PLC0415
