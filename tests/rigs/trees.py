"""Strategies of hypothesis for what the IPLD data model can hold."""

from hypothesis import strategies as st

from learnae.ipld.cid import DAG_CBOR, RAW, Cid

_UNICODE = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_CIDS = st.builds(Cid.of, st.sampled_from((RAW, DAG_CBOR)), st.binary(max_size=4))
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: str(x) != "-0.0")  # libipld drops the sign
    | _UNICODE
    | st.binary(max_size=40).filter(lambda data: data[:1] not in (b"\x01", b"\x12"))  # libipld takes those for CIDs
    | _CIDS
)
TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_UNICODE, inner, max_size=4),
    max_leaves=20,
)
