"""Counts and names in words."""

from collections.abc import Sequence

_MAX_NAMES = 40  # in one line


def counted(count: int, one: str, many: str = "") -> str:
    """Return such as ``1 peer`` and ``2 peers``; ``many`` is the plural where that is not ``one`` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def shown(names: Sequence[str]) -> str:
    """Join the names, or the first of very many."""
    return ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
