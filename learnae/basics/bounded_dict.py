"""A dict with a limit: what other peers can make longer must have an end."""

from typing import TypeVar

from learnae.basics.overriding import override

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(dict[K, V]):
    """Holds at most ``limit`` items; an item set beyond that drops the one that was set first.

    >>> names = BoundedDict[str, int](2)
    >>> for number, name in enumerate(["a", "b", "c"]):
    ...     names[name] = number
    >>> names
    {'b': 1, 'c': 2}

    Setting a key that is present keeps its place, as in any dict; ``renew`` makes it the newest. ``update`` and
    ``setdefault`` obey the limit, too.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    @override
    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        while len(self) > self.limit:
            del self[next(iter(self))]

    def renew(self, key: K, value: V) -> None:
        """Set ``key`` as the newest item, also if it is there; readers in other threads need a lock."""
        self.pop(key, None)
        self[key] = value

    @override
    def setdefault(self, key: K, default: V) -> V:
        """Return the value of ``key``, set to ``default`` if it has none."""
        if key not in self:
            self[key] = default
        return self.get(key, default)  # a limit of 0 has dropped it

    @override
    def update(self, other: dict[K, V]) -> None:  # type: ignore[override]
        """Set every item of ``other``."""
        for key, value in other.items():
            self[key] = value
