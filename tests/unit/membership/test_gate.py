"""Members are told from strangers by the first bytes of what they send."""

import pytest
from builders import NOW, SWARM, Author, damaged, escaped, identity

from learnae.errors import PeerError, StrangerError
from learnae.membership.gate import Gate
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import MAX_BYTES, REMOVE, Invite, Join, Record, Vote, compose_record, prove_join

ANN, BOB, EVE = Author(1), Author(2), Author(3)


@pytest.fixture
def gate() -> Gate:
    founders = [Founder(each.author, each.identity.x25519) for each in (ANN, BOB)]
    return Gate(Ledger(MembershipPolicy.of("invite", founders, 1), SWARM))


def test_members_pass_and_strangers_do_not(gate: Gate) -> None:
    gate.check(ANN.say().data)
    with pytest.raises(StrangerError, match="is not a member; a member lets it in"):
        gate.check(EVE.say().data)
    assert [gate.admits(each.author) for each in (ANN, BOB, EVE)] == [True, True, False]
    assert [gate.admits_prefix(each.author[:8]) for each in (ANN, BOB, EVE)] == [True, True, False]


def test_in_an_open_swarm_all_pass() -> None:
    gate = Gate()
    gate.check(EVE.say().data)
    assert gate.admits(EVE.author)
    assert gate.admits_prefix(b"anything")
    assert not gate.takes(record().data)
    assert (list(gate.missing()), gate.announced(b"")) == ([], [])


def record() -> Record:
    body = Invite(bytes(32), 1, NOW)
    return compose_record(EVE.identity, SWARM, (), NOW, body)


def test_strangers_records_pass_if_they_are_small_and_are_judged_where_they_are_taken(gate: Gate) -> None:
    gate.check(record().data)
    assert gate.takes(record().data)
    with pytest.raises(PeerError, match="no member"):
        gate.take(record().data)
    large = record().data + bytes(MAX_BYTES)
    with pytest.raises(StrangerError):
        gate.check(large)
    gate.check(b"a frame" * 100)  # other blocks are named by messages


def test_a_welcome_lets_in_and_a_vote_puts_out(gate: Gate) -> None:
    ledger, key, before = gate.ledger, identity(9), gate.version
    assert ledger is not None
    history = []
    for author, body in (
        (ANN, Keyring(ANN.identity, ledger).mint),
        (ANN, lambda: Invite(key.author, 1, NOW + 1000)),
        (EVE, lambda: Join(EVE.identity.x25519, history[1], prove_join(key, SWARM, EVE.author))),
        (BOB, lambda: Keyring(BOB.identity, ledger).welcome_for(history[2], NOW)),
    ):
        assert not gate.admits(EVE.author)
        made = compose_record(author.identity, SWARM, ledger.heads(), NOW, body())
        gate.take(made.data)
        history.append(made.cid)
    assert gate.admits(EVE.author)
    gate.check(EVE.say().data)
    assert gate.version == before + 1
    gate.take(compose_record(BOB.identity, SWARM, ledger.heads(), NOW, Vote(EVE.author, REMOVE)).data)
    assert gate.version == before + 2
    with pytest.raises(StrangerError):
        gate.check(EVE.say().data)


def test_any_bytes_pass_or_are_refused_by_name(gate: Gate) -> None:
    for data in (EVE.say().data, record().data):
        assert escaped(gate.check, list(damaged(data)), StrangerError) == set()
        assert escaped(gate.takes, list(damaged(data)), PeerError) == set()
