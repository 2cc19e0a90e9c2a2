"""Keep the docstrings of functions out of a board's memory, a megabyte and more: only people read them.

``python -OO`` does that and more, so that libraries are prepared for it; but it wants bytecode of its own, which no
distribution ships.
"""

import operator
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType

from learnae.basics.overriding import override

_IS_FUNCTION, _HAS_DOCSTRING = 0x2, 0x4000000  # CO_NEWLOCALS; CO_HAS_DOCSTRING, which Python has since 3.14
# numpy hands them to C, which without -OO refuses None; numpy.ma asserts what its second version's numeric says
_NEEDED = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy._core.numeric")
_TOLD_BY_FLAG = sys.version_info >= (3, 14)


def keep_docstrings_out() -> None:
    """Load all modules from now on without the docstrings of their functions. Idempotent."""
    if _HOOK not in sys.path_hooks:
        sys.path_hooks.insert(0, _HOOK)
        sys.path_importer_cache.clear()


class _TerseLoader(SourceFileLoader):
    @override
    def get_code(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        return code if code is None or fullname in _NEEDED else without_docstrings(code)


def without_docstrings(code: CodeType) -> CodeType:
    """Return ``code`` without the docstrings of functions.

    One that uses the very text of its docstring as a constant, too, would have None for it: of 16,000 none does.
    """
    constants = [without_docstrings(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    if _has_docstring(code):
        constants[0] = None
    is_same = all(map(operator.is_, constants, code.co_consts))
    return code if is_same else code.replace(co_consts=tuple(constants))


def _has_docstring(code: CodeType) -> bool:
    if _TOLD_BY_FLAG:
        return bool(code.co_flags & _HAS_DOCSTRING)
    # of a function, but not of a comprehension, the first constant is its docstring or None
    is_function = code.co_flags & _IS_FUNCTION and not code.co_name.startswith("<")
    return bool(is_function and code.co_consts) and isinstance(code.co_consts[0], str)


_HOOK = FileFinder.path_hook(
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (_TerseLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
