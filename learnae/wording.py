"""How many of what, as people say it."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Such as ``1 peer`` and ``2 peers``; ``many`` where the plural is not ``one`` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"
