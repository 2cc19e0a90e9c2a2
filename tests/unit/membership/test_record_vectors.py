"""docs/vectors/records.json, read by the library and by a reader that shares no code with it."""

import ast
import json
from pathlib import Path

import pytest
from golden import membership as page
from golden.reader import name_of
from golden.vectors import DIRECTORY

from learnae.errors import PeerError
from learnae.ipld.cid import Cid
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import open_record
from learnae.protocol.identity import Identity

GOLDEN = json.loads((DIRECTORY / "records.json").read_text())
SWARM, EPOCH = GOLDEN["swarm"], GOLDEN["epoch"]
BLOCKS = {name: bytes.fromhex(vector["block"]) for name, vector in GOLDEN["records"].items()}
SEEDS = {name: bytes(range(32 * n, 32 * n + 32)) for n, name in enumerate(("alice", "bob", "carol", "dave"))}
KEYS = {name: Identity.from_seed(seed).author for name, seed in SEEDS.items()}
SECRETS = (bytes.fromhex(EPOCH["secret"]), bytes.fromhex(EPOCH["root"]))


def test_the_reader_shares_no_code_with_the_library() -> None:
    tree = ast.parse(Path(page.__file__).read_text())
    modules = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("learnae") for name in modules)


def test_the_library_finds_members_and_secrets() -> None:
    founders = [Founder(*map(bytes.fromhex, founder.values())) for founder in GOLDEN["membership"]["founders"]]
    policy = MembershipPolicy.of(GOLDEN["membership"]["kind"], founders, GOLDEN["membership"]["votes"])
    ledger = Ledger(policy, Cid.parse(SWARM))
    for name, block in BLOCKS.items():
        (record,) = ledger.add(block)
        assert str(record.cid) == GOLDEN["records"][name]["cid"]
    found = ledger.roster()
    assert [name for name, key in KEYS.items() if key in found.members] == GOLDEN["members"]
    assert [name for name, key in KEYS.items() if key in found.removed] == GOLDEN["removed"]
    for name in GOLDEN["members"]:
        ring = Keyring(Identity.from_seed(SEEDS[name]), ledger)
        assert ring.current() == (bytes.fromhex(EPOCH["name"]), SECRETS[0])
        assert ring.root == SECRETS[1]


def test_the_reader_finds_members_and_secrets() -> None:
    records = {name_of(block): page.read_record(block, SWARM) for block in BLOCKS.values()}
    assert list(records) == [vector["cid"] for vector in GOLDEN["records"].values()]
    founders = [{"key": bytes.fromhex(founder["key"])} for founder in GOLDEN["membership"]["founders"]]
    members, removed = page.Swarm(SWARM, {**GOLDEN["membership"], "founders": founders}, records).members()
    assert [name for name, key in KEYS.items() if key in members] == GOLDEN["members"]
    assert [name for name, key in KEYS.items() if key in removed] == GOLDEN["removed"]
    first, last, welcome = (
        records[GOLDEN["records"][name]["cid"]] for name in ("first secret", "secret after the removal", "welcome")
    )
    for name in GOLDEN["members"]:
        assert page.open_rekey(SEEDS[name], KEYS[name], last) == SECRETS
    secret, root = page.open_rekey(SEEDS["carol"], KEYS["carol"], first)
    assert page.open_welcome(SEEDS["dave"], welcome) == secret
    assert page.open_root(secret, first) == root == page.derive(secret, b"learnae/root/1") == SECRETS[1]
    assert KEYS["carol"] not in dict(map(tuple, last["body"]["sealed"]))


@pytest.mark.parametrize("name", GOLDEN["refused"])
def test_both_refuse_a_record(name: str) -> None:
    block = bytes.fromhex(GOLDEN["refused"][name]["block"])
    with pytest.raises(PeerError):
        open_record(block, Cid.parse(SWARM))
    with pytest.raises((ValueError, KeyError)):
        page.read_record(block, SWARM)
