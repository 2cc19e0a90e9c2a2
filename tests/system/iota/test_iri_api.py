"""What nodes refuse: the loopback node is as strict as the real one, so that tests over it mean something."""

import time
from typing import Any

import pytest
import requests
from builders import some_entry
from iri_node import number_trytes
from tangles import Tangle, gossip

from learnae.adapters.iota.node import NULL, Node
from learnae.adapters.iota.proof_of_work import hash_of, search, weight
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.announcements import Announcement

A_TAG = "LEARNAE9TEST9OF9THE9API".ljust(27, "9")


def post(tangle: Tangle, headers: dict[str, str] | None = None, **query: Any) -> requests.Response:
    ours = {"X-IOTA-API-Version": "1"} if headers is None else headers
    return requests.post(tangle.url, json=query, headers=ours, timeout=30)


def transaction(tangle: Tangle, seconds: float = 0) -> str:
    """On two tips, worked for but not sent; dated so many ``seconds`` ahead."""
    node = Node(tangle.url)
    trytes = node.propose(b"test", A_TAG, NULL)
    tips = post(tangle, command="getTransactionsToApprove", depth=3).json()
    above = tips["trunkTransaction"] + tips["branchTransaction"]
    stamped = number_trytes(int(1000 * (time.time() + seconds)))
    return search(trytes[:2430] + above + trytes[2592:2619] + stamped + "9" * 9 + "M" * 9 + "9" * 27, node.mwm())


def assert_refused(tangle: Tangle, why: str, **query: Any) -> None:
    answer = post(tangle, **query)
    assert answer.status_code == 400
    assert why in answer.json()["error"]


@pytest.mark.parametrize("command", ["getTips", "isPromotable", "getTransactionStrings", ""])
def test_unknown_commands(tangle: Tangle, command: str) -> None:
    assert_refused(tangle, "unknown", command=command)


def test_no_command(tangle: Tangle) -> None:
    assert post(tangle, what="getNodeInfo").status_code == 400
    assert requests.post(tangle.url, data=b"{", headers={"X-IOTA-API-Version": "1"}, timeout=30).status_code == 400


def test_what_is_right_is_stored_and_found(tangle: Tangle) -> None:
    trytes = transaction(tangle)
    assert post(tangle, command="storeTransactions", trytes=[trytes]).status_code == 200
    name = hash_of(trytes)  # a bundle may have several: its hash covers no message, and seconds only
    assert post(tangle, command="getTrytes", hashes=[name]).json()["trytes"] == [trytes]
    parents, tags = {"approvees": [trytes[2430:2511]]}, ({"tags": [A_TAG]}, {"tags": [A_TAG.rstrip("9")]})
    for other in ({"bundles": [trytes[2349:2430]]}, *tags, parents):
        assert name in post(tangle, command="findTransactions", **other).json()["hashes"]


@pytest.mark.parametrize("verb", ["storeTransactions", "broadcastTransactions"])
def test_trytes_that_are_none(tangle: Tangle, verb: str) -> None:
    trytes = transaction(tangle)
    for wrong in ([], ["9"], [trytes[:-1]], [trytes.lower()], [trytes + "9"], ["!" * 2673]):
        assert post(tangle, command=verb, trytes=wrong).status_code == 400, wrong[:1]


def test_too_little_work(tangle: Tangle) -> None:
    trytes, needed = transaction(tangle), Node(tangle.url).mwm()
    changed = (letter + trytes[1:] for letter in "ABCDEFGH")  # one of 3^mwm has done the work by chance
    lacking = next(each for each in changed if weight(hash_of(each)) < needed)
    assert_refused(tangle, "hash", command="storeTransactions", trytes=[lacking])


def test_dates_that_are_far_ahead(tangle: Tangle) -> None:
    ahead = transaction(tangle, seconds=660)
    assert_refused(tangle, "invalid timestamp", command="storeTransactions", trytes=[ahead])


def test_a_wrong_weight_is_answered_with_the_right_one(tangle: Tangle) -> None:
    tips = {"trunkTransaction": NULL, "branchTransaction": NULL}
    query = {"command": "attachToTangle", "minWeightMagnitude": 1, "trytes": ["9" * 2673], **tips}
    assert_refused(tangle, f"expected: {Node(tangle.url).mwm()}", **query)


def test_names_that_are_none(tangle: Tangle) -> None:
    for query in (
        {"command": "getTrytes", "hashes": ["A"]},
        {"command": "getInclusionStates", "transactions": ["!" * 81], "tips": []},
        {"command": "findTransactions", "tags": ["A" * 28]},
        {"command": "findTransactions", "tags": ["a"]},
        {"command": "findTransactions", "approvees": ["A"]},
        {"command": "getTransactionsToApprove", "depth": 3, "reference": "A"},
    ):
        assert post(tangle, **query).status_code == 400, query


def test_limits(tangle: Tangle) -> None:
    assert post(tangle, command="getTrytes", hashes=[NULL] * 1001).status_code == 400
    assert post(tangle, command="findTransactions", tags=["A" * 27] * 1001).status_code == 400
    assert post(tangle, command="findTransactions").json()["hashes"] == []


def test_what_is_not_there(tangle: Tangle) -> None:
    name = "A" * 81
    assert post(tangle, command="getTrytes", hashes=[name]).json()["trytes"] == ["9" * 2673]
    assert post(tangle, command="getInclusionStates", transactions=[name], tips=[]).json()["states"] == [False]


def test_what_has_unknown_parents_is_no_tip_and_is_never_confirmed(tangle: Tangle) -> None:
    trytes = transaction(tangle)
    orphan = search(trytes[:2430] + "A" * 81 + trytes[2511:], Node(tangle.url).mwm())
    assert post(tangle, command="storeTransactions", trytes=[orphan]).status_code == 200
    name = hash_of(orphan)
    assert name in post(tangle, command="findTransactions", bundles=[orphan[2349:2430]]).json()["hashes"]
    for _ in range(10):
        tips = post(tangle, command="getTransactionsToApprove", depth=3).json()
        assert name not in (tips["trunkTransaction"], tips["branchTransaction"])
    speaker = gossip(tangle.url, Cid.of(DAG_CBOR, orphan.encode()))
    speaker.announce(Announcement((some_entry(1),)))
    while not speaker.counts.confirmed:  # milestones come
        speaker.turn()
    assert post(tangle, command="getInclusionStates", transactions=[name], tips=[]).json()["states"] == [False]
