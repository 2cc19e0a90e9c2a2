"""Who is in, in virtual time: joins, removals, partitions and strangers, among real peers."""

from dataclasses import replace

import numpy as np
from builders import tiny_dataset, tiny_manifest

from learnae.basics.overriding import override
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.gate import MEMBER, REMOVED, WAITING
from learnae.membership.key_epochs import Keyring
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import ADMIT, REMOVE, Invite, Join, Leave, Rekey, Vote, prove_join
from learnae.membership.sealing import Seals, Secrets
from learnae.peer.peer import Peer
from learnae.protocol.identity import Identity
from learnae.simulation.network import Weather
from learnae.simulation.simulator import START, Setting, Simulation, identity_of

SECOND, DAY = 1000, 86_400_000
SEED = 5


class Stale(Secrets):
    """Goes on with the secrets that were known when it was made."""

    def __init__(self, keyring: Keyring) -> None:
        self._known = {name: keyring.secret_of(name) for name in keyring.names()}
        self._current = keyring.current()

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        return self._current

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return self._known.get(name)


def swarm(count: int, founders: int, kind: str = "invite", votes: int = 0, loss: float = 0.1) -> Simulation:
    """The first ``founders`` are members from the beginning."""
    keys = [identity_of(SEED, index) for index in range(founders)]
    policy = MembershipPolicy.of(kind, [Founder(key.author, key.x25519) for key in keys], votes)
    manifest = tiny_manifest(membership=policy)
    datasets = [tiny_dataset(manifest, index) for index in range(count)]
    return Simulation(manifest, datasets, Setting(SEED, weather=Weather((10, 300), loss)))


def standings(simulation: Simulation) -> list[str]:
    return [str(member.peer.status()["membership"]) for member in simulation.members]


def publish(peer: Peer, *bodies: Invite | Join | Vote | Leave) -> None:
    assert peer.steward is not None
    for body in bodies:
        peer.steward.publish(body)


def remove(peer: Peer, other: Peer) -> None:
    publish(peer, Vote(other.author, REMOVE))


def rosters(simulation: Simulation, *indices: int) -> set[frozenset[bytes]]:
    ledgers = (simulation.members[index].peer.replication.gate.ledger for index in indices)
    return {frozenset(ledger.roster().members) for ledger in ledgers if ledger is not None}


def epochs(simulation: Simulation, *indices: int) -> set[object]:
    found = set()
    for index in indices:
        peer = simulation.members[index].peer
        assert peer.steward is not None
        current = peer.steward.keyring.current()
        found.add(current and current[0])
    return found


def rekeys(peer: Peer) -> set[Cid]:
    ledger = peer.replication.gate.ledger
    assert ledger is not None
    return {record.cid for record in ledger.records() if isinstance(record.body, Rekey)}


def authors(peer: Peer) -> set[bytes]:
    return set(peer.tangle.authors())


def test_who_brings_an_invite_is_welcomed_and_merges() -> None:
    simulation = swarm(4, founders=2)
    simulation.run(30 * SECOND)
    founder, *_ = (member.peer for member in simulation.members)
    assert standings(simulation) == [MEMBER, MEMBER, WAITING, WAITING]
    assert [len(authors(member.peer)) for member in simulation.members] == [2, 2, 0, 0]  # all else is sealed
    joiner, key = simulation.members[2], Identity.from_seed(bytes(32))
    publish(founder, Invite(key.author, 1, START + DAY))
    simulation.run(20 * SECOND)
    (invite,) = founder.replication.gate.ledger.roster().invites
    proof = prove_join(key, simulation.manifest.swarm, joiner.identity.author)
    publish(joiner.peer, Join(joiner.identity.x25519, invite, proof))
    simulation.run(60 * SECOND)
    assert standings(simulation) == [MEMBER, MEMBER, MEMBER, WAITING]
    assert len(epochs(simulation, 0, 1, 2)) == 1
    for member in simulation.members[:3]:
        others = {other.identity.author for other in simulation.members[:3]} - {member.identity.author}
        assert set(member.peer.following.replicas) == others
    assert authors(founder) == {member.identity.author for member in simulation.members[:3]}


def test_who_works_in_another_role_than_its_invites_is_named_and_merged_by_none() -> None:
    simulation = swarm(4, founders=2)
    founder, _, *joiners = simulation.members
    for joiner, role in zip(joiners, ("trainer", "agent"), strict=True):  # all run as agents
        key = Identity.from_seed(role.encode().ljust(32))
        publish(founder.peer, Invite(key.author, 1, START + DAY, role))
        simulation.run(20 * SECOND)
        invites = founder.peer.replication.gate.ledger.roster().invites
        (invite,) = [cid for cid, each in invites.items() if each.invite.key == key.author]
        proof = prove_join(key, simulation.manifest.swarm, joiner.identity.author)
        publish(joiner.peer, Join(joiner.identity.x25519, invite, proof))
        simulation.run(60 * SECOND)
    assert standings(simulation) == [MEMBER] * 4
    wrong, right = (joiner.identity.author for joiner in joiners)
    for member in simulation.members[:2]:
        assert wrong in authors(member.peer), "it is a member, and may speak"
        assert (wrong in member.peer.following.replicas, right in member.peer.following.replicas) == (False, True)
        assert member.peer.errors.counts == {"MembershipError": member.peer.errors.counts["MembershipError"]}
        assert "and was let in as another" in member.peer.errors.last["MembershipError"]


def test_an_expired_invite_is_welcomed_by_no_member() -> None:
    simulation = swarm(2, founders=1)
    founder, joiner = simulation.members
    key = Identity.from_seed(bytes(32))
    publish(founder.peer, Invite(key.author, 1, START + 10 * SECOND))
    simulation.run(20 * SECOND)
    (invite,) = joiner.peer.replication.gate.ledger.roster().invites
    proof = prove_join(key, simulation.manifest.swarm, joiner.identity.author)
    publish(joiner.peer, Join(joiner.identity.x25519, invite, proof))
    simulation.run(60 * SECOND)
    assert standings(simulation) == [MEMBER, WAITING]


def test_who_is_removed_is_heard_no_more_and_the_others_go_on() -> None:
    simulation = swarm(3, founders=3, votes=1)
    simulation.run(60 * SECOND)
    first, second, gone = (member.peer for member in simulation.members)
    assert gone.author in first.following.replicas
    before = epochs(simulation, 0, 1)
    remove(first, gone)
    simulation.run(30 * SECOND)
    assert standings(simulation) == [MEMBER, MEMBER, REMOVED]
    steps = second.steps
    for peer in (first, second):
        assert gone.author not in peer.following.replicas
        assert authors(peer) == {first.author, second.author}
    said = gone.own.last
    simulation.run(60 * SECOND)
    assert gone.own.last == said
    assert second.steps > steps
    after = epochs(simulation, 0, 1)
    assert len(after) == 1
    assert after != before


def test_what_a_removed_member_says_all_the_same_is_refused_everywhere() -> None:
    simulation = swarm(3, founders=3, votes=1)
    simulation.run(60 * SECOND)
    first, second, gone = (member.peer for member in simulation.members)
    assert gone.steward is not None
    stale = Stale(gone.steward.keyring)
    remove(first, gone)
    simulation.run(30 * SECOND)
    gone.steward = None  # a program that does not keep to it
    gone.replication.gate._members = None
    gone.replication.seals = gone.following.seals = Seals(is_sealed=True, secrets=stale)
    simulation.run(60 * SECOND)
    assert gone.own.last is not None
    assert gone.own.last.time > START + 90 * SECOND
    for index, peer in enumerate((first, second)):
        assert gone.author not in {*peer.following.replicas, *authors(peer)}
        mine = simulation.members[index].host.blocks
        assert gone.own.last.cid not in mine


def test_two_removals_at_once_in_two_partitions_heal_to_one_roster_and_one_epoch() -> None:
    simulation = swarm(6, founders=6, votes=2)
    simulation.run(60 * SECOND)
    peers = [member.peer for member in simulation.members]
    simulation.partition([(0, 1, 2), (3, 4, 5)])
    for voter, other in ((0, 5), (1, 5), (3, 2), (4, 2)):
        remove(peers[voter], peers[other])
    simulation.run(60 * SECOND)
    before = rekeys(peers[0]) | rekeys(peers[3])
    simulation.heal()
    simulation.run(120 * SECOND)
    assert rosters(simulation, *range(6)) == {frozenset(peers[index].author for index in (0, 1, 3, 4))}
    assert len(epochs(simulation, 0, 1, 3, 4)) == 1
    assert None not in epochs(simulation, 0, 1, 3, 4)
    assert standings(simulation) == [MEMBER, MEMBER, REMOVED, MEMBER, MEMBER, REMOVED]
    assert 1 <= len(rekeys(peers[0]) - before) <= 2


def test_who_leaves_is_removed_by_itself_and_records_outlast_restarts() -> None:
    simulation = swarm(3, founders=3, votes=3)
    simulation.run(30 * SECOND)
    publish(simulation.members[2].peer, Leave())
    simulation.run(30 * SECOND)
    assert standings(simulation) == [MEMBER, MEMBER, REMOVED]
    simulation.crash(0)
    simulation.restart(0)
    assert standings(simulation) == [MEMBER, MEMBER, REMOVED]
    simulation.run(700 * SECOND)  # past a sweep of what nothing needs
    ledger = simulation.members[0].peer.replication.gate.ledger
    assert ledger is not None
    assert all(cid in simulation.members[0].host.blocks for cid in ledger.cids())
    assert np.isfinite(simulation.members[0].peer.estimate()).all()
    assert replace(simulation.manifest).is_sealed


def test_members_vouch_and_a_removed_one_comes_back() -> None:
    simulation = swarm(4, founders=3, kind="vouched", votes=2)
    first, second, third, joiner = simulation.members
    simulation.run(20 * SECOND)
    publish(joiner.peer, Join(joiner.identity.x25519))
    simulation.run(20 * SECOND)
    join = joiner.peer.replication.gate.ledger.roster
    assert standings(simulation)[3] == WAITING
    (asked,) = [cid for cid in first.peer.replication.gate.ledger.cids() if cid.codec == DAG_CBOR
                and first.peer.replication.gate.ledger.get(cid).author == joiner.identity.author]  # fmt: skip
    for voter in (first, second):
        publish(voter.peer, Vote(joiner.identity.author, ADMIT, asked))
    simulation.run(60 * SECOND)
    assert standings(simulation) == [MEMBER] * 4
    assert join().members
    for voter in (first, joiner):
        remove(voter.peer, third.peer)
    simulation.run(60 * SECOND)
    assert standings(simulation)[2] == REMOVED
    for voter in (first, joiner):
        publish(voter.peer, Vote(third.identity.author, ADMIT))
    simulation.run(120 * SECOND)
    assert standings(simulation) == [MEMBER] * 4
    assert third.identity.author in first.peer.following.replicas
