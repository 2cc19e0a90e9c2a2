"""Counts, names and versions in words, and back."""

import re
from collections.abc import Sequence

_MAX_NAMES = 40  # in one line
_FEW_NAMES = 5  # where they are said each time


def counted(count: int, one: str, many: str = "") -> str:
    """Return such as ``1 peer`` and ``2 peers``; ``many`` is the plural where that is not ``one`` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def shown(names: Sequence[str]) -> str:
    """Join the names, or the first of very many."""
    return ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")


def shortly(names: Sequence[str]) -> str:
    """Join a few names; of more, name the first ones and say how many there are.

    >>> shortly(["a", "b"]), shortly([f"f{number}" for number in range(40)])
    ('a, b', 'f0, f1, f2, f3, f4, … (40 in all)')
    """
    if len(names) <= _FEW_NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_FEW_NAMES])}, … ({len(names)} in all)"


def without_secrets(url: str) -> str:
    """Return what a user gave as a URL, as errors may show it: people write names, passwords and tokens into it.

    >>> [without_secrets(url) for url in ("mqtt://me:a/b@c@host", "me:pass@host:1", "http://host/p?key=x", "http://me:pass")]
    ['mqtt://…@host', '…@host:1', 'http://host/p?…', 'http://me:…']
    """
    rest = re.sub("^(?:[a-z][a-z0-9+.-]*:)?//", "", url, flags=re.IGNORECASE)
    scheme = url[: len(url) - len(rest)]
    _, sign, after = rest.rpartition("@")
    if sign and re.search("[?#]", rest):  # what is a password and what a question is not certain
        return f"{scheme}…"
    place = re.sub(r"([?#]).*", r"\1…", after, flags=re.DOTALL)
    place = re.sub(r"^([^/:\[]*:)(?!\d{1,6}(?:[/?#]|$))[^/]+", r"\1…", place)
    return scheme + ("…@" if sign else "") + place


def host_of(url: str) -> str:
    """Return scheme, host and port of a URL, as logs and status show it: its path may be a token.

    >>> [host_of(url) for url in ("http://host:8080", "https://host/token/ipfs")]
    ['http://host:8080', 'https://host/…']
    """
    return re.sub(r"^([^/]*//[^/]*/).+", r"\1…", without_secrets(url), flags=re.DOTALL)


class Sayings:
    """Tells a text that is new from one that was there before, perhaps with other numbers, of at most ``most``.

    >>> said = Sayings(2)
    >>> [said.is_new(text) for text in ("7 bytes", "message of 7 bytes", "message of 9 bytes", "a1 away", "a2 away")]
    [True, True, False, False, False]
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def is_new(self, text: str) -> bool:
        """Return True once for each text; numbers are those after a blank, as others belong to names."""
        kind = re.sub(r"(?<= )[-+]?\d[\d.,e+-]*", "#", text)
        if kind in self._known or len(self._known) >= self._most:
            return False
        self._known.add(kind)
        return True


def decimal(value: float | None) -> str:
    """Return a share of 1 with three decimals, of a small one three digits, a dash for none.

    >>> [decimal(value) for value in (0.5, 0.000123, -12.5, 0.0, None)]
    ['0.500', '0.000123', '-12.500', '0.000', '-']
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if value == 0 or 0.1 <= abs(value) < 1000 else f"{value:.3g}"


def significant(value: float | None) -> str:
    """Return a number with four significant digits, a dash for none.

    >>> [significant(value) for value in (0.5, 0.0000123456, 12.3456, 12345.6, 0.0, None)]
    ['0.5000', '1.235e-05', '12.35', '1.235e+04', '0.000', '-']
    """
    return "-" if value is None else f"{value:#.4g}".removesuffix(".")


def ago(seconds: float) -> str:
    """Return such as ``5 s ago`` and ``3 days ago``.

    >>> [ago(seconds) for seconds in (5, 90, 7200, 260_000)]
    ['5 s ago', '2 min ago', '2 h ago', '3 days ago']
    """
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, which compare as versions do; none if it begins with another word.

    >>> [version_numbers(version) for version in ("0.29.0-rc1", "v0.100", "0.5.10", "devel", "")]
    [(0, 29, 0), (0, 100), (0, 5, 10), (), ()]
    """
    found = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()
