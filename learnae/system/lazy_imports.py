"""Keep modules that libraries import and a board never uses out of its memory: load them late, or hide them."""

import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import GenericAlias, ModuleType
from typing import Any

from learnae.basics.overriding import override

_BUILT_IN_SHA = ("_sha256", "_sha2")  # until Python 3.11, and since; some distributions leave it to OpenSSL


class LazyFinder:
    """Finds these modules so that they are run at the first use of an attribute, not when imported.

    Each has the names of what others take out of it early (``from M import F``, or ``*``) and may never call. The
    standard library's ``LazyLoader`` cannot give these, runs a module when it is imported a second time, and before
    Python 3.12 is not safe from two threads. No ``MetaPathFinder``: to import that loads half a megabyte of others.
    """

    def __init__(self, modules: Mapping[str, Collection[str]]) -> None:
        self.modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find these modules as usual, to be run late; None for all others."""
        if fullname not in self.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            late: Any = _LateLoader(spec, self.modules[fullname])  # importlib.abc.Loader, which is not loaded
            spec.loader = late
        return spec


def waits(name: str) -> bool:
    """Return True if a module is run only when it is first used."""
    return any(isinstance(finder, LazyFinder) and name in finder.modules for finder in sys.meta_path)


class _WaitingModule(ModuleType):
    """A module that runs when it is asked for what it does not have yet."""

    @override
    def __getattr__(self, name: str) -> Any:
        loader = self.__loader__
        if name == "__path__" or not isinstance(loader, _LateLoader) or not loader.run(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self, name)


class _LateLoader:
    """Makes a module that waits, and runs it later, once: another thread that needs it meanwhile waits as well."""

    def __init__(self, spec: ModuleSpec, taken: Collection[str]) -> None:
        self._spec, self._loader = spec, spec.loader
        self._taken = taken
        self._lock = threading.RLock()  # what it imports may import it
        self._has_begun = False

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Let it wait, as all that belongs to a module that has not run is in it now."""
        module.__class__ = _WaitingModule
        if self._taken:
            stand_ins = {name: _StandIn(name, (), {"module": module, "loader": self}) for name in self._taken}
            module.__dict__.update(stand_ins, __all__=list(self._taken))

    def run(self, module: ModuleType) -> bool:
        """Run the module unless it has run; return False in the middle of that."""
        with self._lock:
            if self._has_begun:
                return module.__class__ is ModuleType
            self._has_begun = True
            try:
                self._fill(module)
            finally:
                self._has_begun = module.__class__ is ModuleType
            return True

    def _fill(self, module: ModuleType) -> None:
        assert self._loader is not None
        self._spec.loader = self._loader
        if isinstance(self._loader, ExtensionFileLoader):  # makes the module itself
            made = module_from_spec(self._spec)
            self._loader.exec_module(made)
            module.__dict__.update(made.__dict__)
        else:
            self._loader.exec_module(module)
        module.__loader__, module.__class__ = self._loader, ModuleType


class _StandIn(type):
    """Stands for a function or class of a module that waits, with those who have taken it out."""

    module: ModuleType
    loader: _LateLoader

    @override
    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        """Call the real one."""
        cls.loader.run(cls.module)
        return cls.module.__dict__[cls.__name__](*arguments, **named)

    @override
    def __instancecheck__(cls, instance: Any) -> bool:
        """Return False before the module has run: there is no instance yet."""
        real = cls.module.__dict__[cls.__name__]
        return real is not cls and isinstance(instance, real)

    def __getitem__(cls, parameters: Any) -> GenericAlias:
        """Return what stands in annotations."""
        return GenericAlias(cls, parameters)


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
