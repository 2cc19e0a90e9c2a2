"""Bytes as text that people read aloud, type and scan, whose mistakes are found and named. Pure.

Digits and capitals are what a QR code's alphanumeric mode holds at 5.5 bits each. The 32 of them that are used are
Crockford's: no I, L, O and U, so 0 and O, or 1, I and l, cannot be taken for one another. The last six characters are
a checksum, the BCH code of BIP 173 and BIP 350: in up to 1,023 characters any three wrong ones are found, and one wrong
one is told from all others.

>>> code = to_text(b"hello")
>>> code, from_text(code)
('D1JPRV3FFN115M', b'hello')
>>> from_text("D1JPRV3FFN115M".replace("V", "W"))
Traceback (most recent call last):
learnae.errors.ConfigurationError: character 6 (the W in PRW3F) is wrong; V fits there: compare it with its source
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import xor

from learnae.errors import ConfigurationError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHECK_CHARACTERS = 6
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_BITS = 5
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP 173
# of the generator, by the five bits that leave: looked up, as wrong codes are tried at each place
_MULTIPLES = [
    reduce(xor, (factor for bit, factor in enumerate(_GENERATOR) if top >> bit & 1), 0) for top in range(1 << _BITS)
]
_FINAL = 0x2BC830A3  # BIP 350: a character that is put in or left out near the end is found, too
_AROUND = 2  # characters shown on each side of a wrong one


def to_text(data: bytes) -> str:
    """Return ``data`` and its checksum as characters of ALPHABET."""
    padding = -len(data) * 8 % _BITS
    number = int.from_bytes(data) << padding
    length = (len(data) * 8 + padding) // _BITS
    values = [number >> _BITS * place & 31 for place in reversed(range(length))]
    check = _residue([*values, *[0] * CHECK_CHARACTERS]) ^ _FINAL
    values += [check >> _BITS * place & 31 for place in reversed(range(CHECK_CHARACTERS))]
    return "".join(ALPHABET[value] for value in values)


def from_text(text: str, before: int = 0) -> bytes:
    """Return the bytes of characters of ALPHABET, of which ``before`` others stand in front.

    Raises ConfigurationError, which names the character that is wrong, missing, too many or swapped. Work grows with
    the square of the length: bound it first.
    """
    for place, letter in enumerate(text):
        if letter not in _VALUES:
            where = f"character {before + place + 1} ({letter!r} in {_around(text, place)!r})"
            raise ConfigurationError(f"{where} is in no code", "compare it with its source")
    values = [_VALUES[letter] for letter in text]
    if len(values) < CHECK_CHARACTERS or _residue(values) != _FINAL:
        raise ConfigurationError(*next(_mistakes(text, values, before)))
    values = values[:-CHECK_CHARACTERS]
    number = 0
    for value in values:
        number = number << _BITS | value
    size, padding = divmod(len(values) * _BITS, 8)
    if padding >= _BITS or number & ((1 << padding) - 1):
        raise ConfigurationError("the code holds no whole bytes", "get it again from where it comes from")
    return (number >> padding).to_bytes(size)


def _step(residue: int) -> int:
    """Multiply by x modulo the generator."""
    return (residue & 0x1FFFFFF) << _BITS ^ _MULTIPLES[residue >> 25]


def _residue(values: Sequence[int]) -> int:
    residue = 1
    for value in values:
        residue = _step(residue) ^ value
    return residue


def _syndromes(length: int) -> list[list[int]]:
    """Return by place and value what a value there adds to the residue of ``length`` values."""
    rows = [list(range(32))]
    for _ in range(length - 1):
        rows.append([_step(residue) for residue in rows[-1]])
    return rows[::-1]


def _mistakes(text: str, values: list[int], before: int) -> Iterator[tuple[str, str]]:
    """Say which single mistake explains the residue, as problem and remedy; else that there is more than one."""
    compare = "compare it with its source"
    rows = _syndromes(len(values) + 1)  # one more, for a value that is missing
    wrong = _residue(values) ^ _FINAL
    for place, row in enumerate(rows[1:]):
        if wrong in row:
            found = f"character {before + place + 1} (the {text[place]} in {_around(text, place)}) is wrong"
            yield found, f"{ALPHABET[values[place] ^ row.index(wrong)]} fits there: {compare}"
    for place, (first, second) in enumerate(pairwise(rows[1:])):
        change = values[place] ^ values[place + 1]
        if change and first[change] ^ second[change] == wrong:
            pair = text[place : place + 2]
            where = f"characters {before + place + 1} and {before + place + 2} ({pair} in {_around(text, place)})"
            yield f"{where} are swapped", f"{pair[::-1]} fits there: {compare}"
    for place, row in enumerate(rows):
        wrong = _residue([*values[:place], 0, *values[place:]]) ^ _FINAL
        if wrong in row:
            where = f"a character is missing after the first {before + place}"
            yield (
                f"{where} (… {text[max(0, place - 4) : place]})",
                f"{ALPHABET[row.index(wrong)]} fits there: {compare}",
            )
    for place in range(len(values)):
        if _residue([*values[:place], *values[place + 1 :]]) == _FINAL:
            yield f"character {before + place + 1} (the {text[place]} in {_around(text, place)}) is too many", compare
    yield "more than one character is wrong, missing or out of place", compare


def _around(text: str, place: int) -> str:
    return text[max(0, place - _AROUND) : place + _AROUND + 1]
