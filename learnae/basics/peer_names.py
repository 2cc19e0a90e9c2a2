"""Names that peers give themselves: which are taken, and how they are shown so that no two look alike.

A name is what a peer says of itself, and many may say the same. Where two look alike, or one is not clear by itself, a
piece of the key stands behind it: ``ann#k3x7qpzd``. Tables of Unicode differ between versions of Python, so what
is said here decides how a name is shown, and never whether a message counts.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache

MOST_CHARACTERS = 64
_PIECE = 8  # characters of a key: 40 bits, and more where two keys begin alike
_MOST_MARKS = 2  # above each other, as Thai and Hebrew have them
_REMEMBERED = 1024  # names
_ENDS_IN_PIECE = re.compile(r"#[a-z2-7]{8,52}$")
# printable signs that leave nothing on a screen, or an empty place: default ignorable ones, fillers, the empty braille
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
# what looks like a Latin letter, of the scripts where names are made of such letters alone (UTS #39, confusables)
_LATIN = {
    # Cyrillic
    **dict(zip("аеорсухѕіјһԁԛԝ", "aeopcyxsijhdqw", strict=True)),
    **dict(zip("АВЕКМНОРСТУХЅІЈԌԚԜ", "ABEKMHOPCTYXSIJGQW", strict=True)),
    # Greek
    **dict(zip("ανορυιγ", "avopuiy", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    # Armenian
    **dict(zip("ոսօհցՍՏՕ", "nuohgUSO", strict=True)),
    # Cherokee, Lisu
    **dict(zip("ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ", "ABCDEGHJKLMPRSTVWZ", strict=True)),
    **dict(zip("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "ABCDEFGHIJKLMNOPRSTUVWXYZ", strict=True)),
    # Latin's own
    **dict(zip("ɑɡıȷɩ", "agiji", strict=True)),
}  # fmt: skip
_TO_LATIN = str.maketrans(_LATIN)
_ALIKE = str.maketrans("i1|0_ ‐‑‒–—−", "lllo--------")
# which scripts are written together: UTS #39, "highly restrictive"
_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
_OF_MANY_SCRIPTS = {"MODIFIER", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}


@lru_cache(_REMEMBERED)
def why_unclear(name: str) -> str:
    """Return why ``name`` may pass for another one, or does not show what it is; empty for a clear one."""
    if not 0 < len(name) <= MOST_CHARACTERS:
        return f"it has {len(name)} characters, and may have 1 to {MOST_CHARACTERS}"
    hidden = [sign for sign in name if not sign.isprintable() or _INVISIBLE.match(sign)]
    if hidden:
        return f"it holds U+{ord(hidden[0]):04X}, which is not seen"
    if name != " ".join(name.split()):
        return "it has spaces at an end, or two in a row"
    if _ENDS_IN_PIECE.search(name):
        return "it ends as if a piece of a key stood behind it"
    return "" if name.isascii() else _why_strange(name)


def _why_strange(name: str) -> str:
    from unicodedata import category, normalize  # noqa: PLC0415 - a megabyte of tables
    from unicodedata import name as name_of  # noqa: PLC0415

    if name != _less_marked(name):
        return f"it stacks more than {_MOST_MARKS} marks on a letter, or begins with one"
    if (usual := normalize("NFKC", name)) != name:
        return f"its letters have a usual form: write {usual!a}, which is {usual}"
    letters = [sign for sign in name if category(sign)[0] == "L"]
    scripts = {name_of(sign, "unknown").split()[0] for sign in letters} - _OF_MANY_SCRIPTS
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        return f"it mixes letters of {' and '.join(sorted(map(str.capitalize, scripts)))}"
    if letters and "LATIN" not in scripts and name.translate(_TO_LATIN).isascii():
        return f"each of its letters looks like a Latin one, as in {name.translate(_TO_LATIN)!r}"
    return ""


@lru_cache(_REMEMBERED)
def _skeleton(name: str) -> str:
    """Return what names that look alike, or nearly, have in common (after UTS #39)."""
    if not name.isascii():
        from unicodedata import category, normalize  # noqa: PLC0415 - a megabyte of tables

        parts = normalize("NFKD", _INVISIBLE.sub("", name).translate(_TO_LATIN)).translate(_TO_LATIN)
        name = "".join(sign for sign in parts if category(sign)[0] not in "MC")
    plain = " ".join(name.casefold().split()).translate(_ALIKE)
    return plain.replace("rn", "m").replace("vv", "w")


def look_alike(name: str, other: str) -> bool:
    """Return True if people may take one name for the other.

    >>> [look_alike("pump-1", other) for other in ("PUMP_l", "pump-2", "рump-1")]
    [True, False, True]
    """
    return _skeleton(name) == _skeleton(other)


def harmless(text: str) -> str:
    """Return a text of another machine as any screen, log and topic can show it.

    What is not seen, or moves what is, becomes a replacement character or goes; marks are stacked no higher than usual.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    shown = _INVISIBLE.sub("", text)
    return _less_marked(" ".join("".join(sign if sign.isprintable() else "\ufffd" for sign in shown).split()))


def _less_marked(text: str) -> str:
    """Leave out combining marks at the begin, and those above others."""
    from unicodedata import category  # noqa: PLC0415 - a megabyte of tables

    def kept() -> Iterator[str]:
        marks = _MOST_MARKS
        for sign in text:
            marks = marks + 1 if category(sign)[0] == "M" else 0
            if marks <= _MOST_MARKS:
                yield sign

    return "".join(kept())


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Return how the peers of ``names`` are shown, all together: keys of 52 characters, and what each calls itself.

    A clear name that no other looks like stays as it is. A peer without a name is a piece of its key.

    >>> told_apart({"abcdefgh22": "ann", "ijklmnop33": "Ann", "qrstuvwx44": "bob"})
    {'abcdefgh22': 'ann#abcdefgh', 'ijklmnop33': 'Ann#ijklmnop', 'qrstuvwx44': 'bob'}
    """
    groups = defaultdict[str, list[str]](list)
    for key, name in names.items():
        groups[_skeleton(name or key[:_PIECE])].append(key)
    shown = {}
    for keys in groups.values():
        length = next((size for size in range(_PIECE, 52) if len({key[:size] for key in keys}) == len(keys)), 52)
        for key in keys:
            name = names[key]
            is_clear = len(keys) == 1 and not (name and why_unclear(name))
            shown[key] = (name or key[:_PIECE]) if is_clear else f"{harmless(name)}#{key[:length]}"
    return {key: shown[key] for key in names}


def split(shown: str) -> tuple[str, str]:
    """Return a shown name and the piece of key behind it, with its sign; empty without one."""
    piece = _ENDS_IN_PIECE.search(shown)
    return (shown[: piece.start()], piece[0]) if piece else (shown, "")
