"""docs/vectors/sums.json, and the library's masks: as a program says that shares no code with it."""

import ast
import json
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from golden import sum_vectors
from golden.vectors import DIRECTORY

from learnae.ipld.cid import Cid
from learnae.privacy.masking.masks import Group, masked, public_of, total

GOLDEN = json.loads((DIRECTORY / "sums.json").read_text())
SWARM = Cid.parse(GOLDEN["swarm"])
MEMBERS = [
    {key: value if key == "addend" else bytes.fromhex(value) for key, value in each.items()}
    for each in GOLDEN["members"]
]


def test_the_program_shares_no_code_with_the_library() -> None:
    tree = ast.parse(Path(sum_vectors.__file__).read_text())
    modules = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("learnae") for name in modules)
    assert {"swarm": GOLDEN["swarm"], **sum_vectors.sums(SWARM.to_bytes())} == GOLDEN


def test_the_library_masks_and_opens_them() -> None:
    group = Group(SWARM, 4, tuple(each["author"] for each in MEMBERS), tuple(each["key"] for each in MEMBERS))
    assert group.name.hex() == GOLDEN["name"]
    vectors = {}
    for each in MEMBERS:
        private = X25519PrivateKey.from_private_bytes(each["private"])
        assert public_of(private) == each["key"]
        vectors[each["author"]] = masked(group, each["author"], private, each["seed"], np.array(each["addend"]))
        assert vectors[each["author"]] == each["vector"]
    assert total(group, vectors, {each["author"]: each["seed"] for each in MEMBERS}).tolist() == GOLDEN["total"]
