"""``@override`` as in Python 3.12, for 3.11 too: marks a method that implements a port or a base class."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import override
elif sys.version_info >= (3, 12):
    from typing import override
else:
    _Method = TypeVar("_Method")

    def override(method: _Method) -> _Method:
        """Return ``method`` as it is; mypy checks that it overrides one."""
        return method


__all__ = ["override"]
