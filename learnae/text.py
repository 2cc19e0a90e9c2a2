"""How many of what, and which, as people say it."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMES = 40  # in one line


def counted(count: int, one: str, many: str = "") -> str:
    """Such as ``1 peer`` and ``2 peers``; ``many`` where the plural is not ``one`` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def shown(names: Sequence[str]) -> str:
    """The names, or the first of very many."""
    return ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
