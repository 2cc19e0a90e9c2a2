"""Strict DAG-CBOR: one value has exactly one encoding.

Specification: https://ipld.io/specs/codecs/dag-cbor/spec/. Maps are sorted length-first, floats
are 64-bit, a link is tag 42; NaN, infinities, other tags and indefinite lengths are refused.
cbor2 reads and writes; the rules that make the form canonical are here.

>>> data = encode({"two": 2, "a": [1.5, None]})
>>> data.hex()
'a2616182fb3ff8000000000000f66374776f02'
>>> decode(data)
{'a': [1.5, None], 'two': 2}
>>> decode(bytes.fromhex("fa3fc00000"))  # 1.5 in 32 bits
Traceback (most recent call last):
learnae.errors.EncodingError: not canonical dag-cbor; sort keys length-first, floats 64-bit, shortest integers
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import cbor2

from learnae.errors import EncodingError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid

MAX_DEPTH = 32  # a Keras model's JSON needs about ten
_LINK_TAG = 42
_SCALARS = frozenset((str, bytes, int, float, bool, type(None)))  # most values: told by a look, not by five
_INTEGERS = range(-(2**63), 2**63)  # what every implementation can hold


def _refuse_reference(*_: object) -> object:
    raise EncodingError("a reference to a shared value", "write the value out")


_NO_REFERENCES = dict.fromkeys((28, 29, 25, 256), _refuse_reference)  # following them multiplies the work


def encode(value: object) -> bytes:
    """Encode maps, lists, str, bytes, int, float, bool, None and Cid; raises EncodingError."""
    return cbor2.dumps(_to_cbor(value, MAX_DEPTH))


def decode(data: bytes, limit: int = MAX_BLOCK_BYTES) -> Any:
    """Decode at most ``limit`` bytes; bytes that do not re-encode to themselves are refused.

    Links come back as Cid. Raises EncodingError.
    """
    if len(data) > limit:
        raise EncodingError(f"{len(data)} bytes of dag-cbor", f"at most {limit} are read")
    try:
        tree = cbor2.loads(
            data,
            max_depth=MAX_DEPTH + 2,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_NO_REFERENCES,
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodingError(f"not CBOR: {error}") from error
    value = _from_cbor(tree, MAX_DEPTH)
    if cbor2.dumps(tree) != data:  # what is in the tree, and in which order, has been checked
        raise _not_canonical()
    return value


def _not_canonical() -> EncodingError:
    return EncodingError("not canonical dag-cbor", "sort keys length-first, floats 64-bit, shortest integers")


def _to_cbor(value: object, depth: int) -> object:
    if depth < 0:
        raise EncodingError(f"nested deeper than {MAX_DEPTH}")
    if type(value) in _SCALARS:
        return _check_scalar(value)
    if isinstance(value, (dict, Mapping)):
        return {key: _to_cbor(value[key], depth - 1) for key in sorted(value, key=_key_order)}
    if isinstance(value, Cid):  # before tuples: it is one
        return cbor2.CBORTag(_LINK_TAG, b"\x00" + value.to_bytes())
    if isinstance(value, (list, tuple)):
        return [_to_cbor(item, depth - 1) for item in value]
    return _check_scalar(value)


def _key_order(key: object) -> tuple[int, bytes]:
    if not isinstance(key, str):
        raise EncodingError(f"a map key is a {type(key).__name__}", "keys are strings")
    encoded = _utf8(key)
    return len(encoded), encoded


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodingError("text that is not Unicode") from error


def _check_scalar(value: object) -> object:
    if isinstance(value, str):
        _utf8(value)
    elif isinstance(value, int):
        if value not in _INTEGERS:
            raise EncodingError("an integer beyond 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise EncodingError(f"a number is {value}", "only finite numbers are encoded")
    elif value is not None and not isinstance(value, bytes):
        raise EncodingError(f"a value of type {type(value).__name__} has no dag-cbor form")
    return value


def _from_cbor(value: object, depth: int) -> object:
    if depth < 0:
        raise EncodingError(f"nested deeper than {MAX_DEPTH}")
    if type(value) in _SCALARS:
        return _check_scalar(value)
    if isinstance(value, dict):
        orders = [_key_order(key) for key in value]
        if any(first >= second for first, second in pairwise(orders)):
            raise _not_canonical()
        return {key: _from_cbor(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_cbor(item, depth - 1) for item in value]
    if isinstance(value, cbor2.CBORTag):
        if value.tag != _LINK_TAG or not isinstance(value.value, bytes) or value.value[:1] != b"\x00":
            raise EncodingError(f"tag {value.tag} is not a link")
        return Cid.from_bytes(value.value[1:])
    return _check_scalar(value)
