"""Key epochs: who is in has the secret, who was removed has it not, and two who mint at once end up with one."""

import dataclasses

import pytest
from rosters import DAY, NOW, SWARM, person

from learnae.errors import LearnaeError, MembershipError, ReplayError, SealError, StateError, SwarmSizeError
from learnae.membership.key_epochs import MAX_MEMBERS, Keyring, epoch_name
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import (
    REMOVE,
    Body,
    Invite,
    Join,
    Record,
    Rekey,
    Unknown,
    Vote,
    Welcome,
    compose_record,
    prove_join,
)
from learnae.protocol.identity import Identity

KEY = person(200)


class Peer:
    def __init__(self, identity: Identity, policy: MembershipPolicy) -> None:
        self.identity, self.ledger = identity, Ledger(policy, SWARM)
        self.keyring = Keyring(identity, self.ledger)

    def say(self, body: Body) -> Record:
        return self.ledger.write(self.identity, NOW, body)

    def mint(self) -> Record:
        return self.say(self.keyring.mint())

    def remove(self, other: "Peer") -> Record:
        return self.say(Vote(other.identity.author, REMOVE))

    def hear(self, *others: "Peer") -> None:
        for other in others:
            for cid in other.ledger.cids():
                record = other.ledger.get(cid)
                assert record is not None
                if self.ledger.is_new(cid):
                    self.ledger.add(record.data)


def meet(*peers: Peer) -> None:
    for peer in peers:
        peer.hear(*peers)


def swarm(count: int, votes: int) -> list[Peer]:
    """Founders of a new swarm, who share its first secret."""
    people = [person(number) for number in range(1, count + 1)]
    policy = MembershipPolicy.of("invite", [Founder(one.author, one.x25519) for one in people], votes)
    peers = [Peer(one, policy) for one in people]
    peers[0].mint()
    meet(*peers)
    return peers


def invited(by: Peer, number: int) -> Peer:
    """A newcomer that has asked to come in, and knows all that ``by`` does."""
    invite = by.say(Invite(KEY.author, 16, NOW + DAY))
    newcomer = Peer(person(number), by.ledger.policy)
    newcomer.hear(by)
    ask(newcomer, invite)
    by.hear(newcomer)
    return newcomer


def ask(newcomer: Peer, invite: Record) -> None:
    me = newcomer.identity
    body = Join(me.x25519, invite.cid, prove_join(KEY, SWARM, me.author))
    newcomer.ledger.add(compose_record(me, SWARM, [], NOW, body).data)


def welcome(by: Peer, newcomer: Peer) -> Record:
    (join,) = by.ledger.roster().pending
    record = by.say(by.keyring.welcome_for(join, NOW))
    newcomer.hear(by)
    return record


def test_an_exchange_key_follows_from_the_identity() -> None:
    me = Identity.from_seed(bytes(range(32)))
    assert me.x25519.hex() == "4703ee98238c23dcacbe36e515eccd35780d0c3da91e952fe87cfd09c8e28846"
    assert me.agree(person(1).x25519) == person(1).agree(me.x25519)
    for none in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(SealError):
            me.agree(none)


def test_founders_share_the_secret_of_the_first_rekey() -> None:
    one, two, three = swarm(3, 2)
    name, secret = one.keyring.current() or pytest.fail("no secret")
    assert one.keyring.current() == two.keyring.current() == three.keyring.current()
    assert (two.keyring.secret_of(name), len(secret)) == (secret, 32)
    assert one.keyring.root == two.keyring.root != secret
    assert two.keyring.names() == [name]
    assert two.keyring.secret_of(bytes(8)) is None


def test_a_welcome_hands_on_secret_and_root() -> None:
    one, two = swarm(2, 2)
    ann = invited(one, 10)
    assert (ann.keyring.current(), ann.keyring.root) == (None, None)
    record = welcome(one, ann)
    assert ann.keyring.current() == one.keyring.current()
    assert ann.keyring.root == one.keyring.root
    assert isinstance(record.body, Welcome)
    assert one.keyring.current()[0] == record.body.epoch  # type: ignore[index]
    meet(one, two, ann)
    assert two.keyring.current() == ann.keyring.current(), "who was welcomed needs no rekey"


def test_a_removed_peer_opens_nothing_that_comes_later() -> None:
    one, two, three, four = peers = swarm(4, 2)
    before = four.keyring.current()
    assert before is not None
    one.remove(four)
    two.hear(one)
    two.remove(four)
    assert two.keyring.current() is None
    two.mint()
    meet(*peers)
    after = two.keyring.current()
    assert after == one.keyring.current() == three.keyring.current() != before
    assert after is not None
    assert four.keyring.current() is None
    assert four.keyring.names() == [before[0]], "with all records and its old secrets"
    assert one.keyring.root == four.keyring.root, "places stay"
    with pytest.raises(MembershipError):
        four.keyring.mint()


def test_two_removals_at_once_take_two_rekeys_and_at_most_two_more() -> None:
    one, two, three, four, five, six = peers = swarm(6, 2)
    one.remove(five)
    two.hear(one)
    two.remove(five)
    two.mint()
    three.remove(six)
    four.hear(three)
    four.remove(six)
    four.mint()
    meet(*peers)
    inside = [one, two, three, four]
    assert {peer.keyring.current() for peer in inside} == {None}
    one.mint()
    three.mint()  # neither has heard of the other's
    meet(*peers)
    assert len({peer.keyring.current() for peer in inside}) == 1
    name, _ = one.keyring.current() or pytest.fail("no secret")
    assert five.keyring.secret_of(name) is six.keyring.secret_of(name) is None
    rekeys = [record for record in one.ledger.history if isinstance(record.body, Rekey)]
    assert len(rekeys) == 1 + 2 + 2
    assert name == min(epoch_name(record.cid) for record in rekeys[-2:])


def test_members_take_turns_and_who_voted_comes_last() -> None:
    one, two, three, four, five = peers = swarm(5, 2)
    one.remove(five)
    two.hear(one)
    two.remove(five)
    meet(*peers)
    turns = [peer.keyring.turn() for peer in peers]
    assert sorted(turns) == [0, 1, 2, 3, 4]
    assert {turns[0], turns[1]} == {2, 3}
    assert turns[4] == 4
    first = peers[turns.index(0)]
    first.mint()
    meet(*peers)
    assert {peer.keyring.current() for peer in (one, two, three, four)} == {first.keyring.current()}


def test_a_newcomer_that_a_rekey_missed_reads_on_under_the_older_one() -> None:
    one, two = swarm(2, 2)
    ann = invited(one, 10)
    two.hear(one)
    two.mint()
    welcome(one, ann)
    meet(one, two, ann)
    assert one.keyring.current() == two.keyring.current() == ann.keyring.current() is not None


def test_a_newcomer_that_the_rekey_after_a_removal_missed_makes_another_due() -> None:
    one, two, three = swarm(3, 1)
    ann = invited(one, 10)
    two.hear(one)
    two.remove(three)
    two.mint()
    welcome(one, ann)
    meet(one, two, ann)
    assert [peer.keyring.current() for peer in (one, two, ann)] == [None] * 3
    ann.mint()
    meet(one, two, ann)
    assert one.keyring.current() == two.keyring.current() == ann.keyring.current() is not None


def test_who_was_welcomed_and_then_removed_is_shut_out_too() -> None:
    one, two = swarm(2, 1)
    ann = invited(one, 10)
    welcome(one, ann)
    one.remove(ann)
    assert one.keyring.current() is None
    one.mint()
    meet(one, two, ann)
    assert one.keyring.current() == two.keyring.current() is not None
    assert ann.keyring.secret_of(one.keyring.current()[0]) is None  # type: ignore[index]


def test_a_fresh_secret_replaces_the_one_before() -> None:
    one, two = swarm(2, 2)
    for _ in range(5):  # a smaller name does not matter
        rekey = two.mint()
        meet(one, two)
        assert one.keyring.current()[0] == epoch_name(rekey.cid)  # type: ignore[index]


def test_a_rekey_that_does_not_open_for_one_is_replaced_by_that_one() -> None:
    one, two, three = swarm(3, 2)
    root = one.keyring.root
    good = three.keyring.mint()
    victim = two.identity.author
    sealed = tuple((peer, bytes(48) if peer == victim else box) for peer, box in good.sealed)
    three.say(dataclasses.replace(good, sealed=sealed))
    meet(one, two, three)
    assert one.keyring.current() is not None
    assert one.keyring.epoch() is not None
    assert two.keyring.current() is two.keyring.epoch() is None
    assert two.keyring.turn() == 0
    two.mint()
    meet(one, two, three)
    assert one.keyring.current() == two.keyring.current() == three.keyring.current() is not None
    three.say(dataclasses.replace(three.keyring.mint(), root=bytes(48)))
    meet(one, two, three)
    assert one.keyring.current() is None
    one.mint()
    meet(one, two, three)
    assert {peer.keyring.root for peer in (one, two, three)} == {root}


@pytest.mark.parametrize("who", ["stranger", "removed"])
def test_a_rekey_that_one_outside_can_open_is_not_used(who: str) -> None:
    one, two, three = swarm(3, 1)
    one.remove(three)
    if who == "removed":
        one.say(dataclasses.replace(swarm(3, 1)[0].keyring.mint(), excludes=(three.identity.author,)))
    else:
        body = one.keyring.mint()
        extra = (person(99).author, bytes(48))
        one.say(dataclasses.replace(body, sealed=tuple(sorted((*body.sealed, extra)))))
    two.hear(one)
    assert two.keyring.current() is None
    two.mint()
    assert two.keyring.current() is not None


def test_boxes_in_anothers_record_do_not_open() -> None:
    one, two, _ = swarm(3, 2)
    (first,) = [record for record in one.ledger.history if isinstance(record.body, Rekey)]
    copied = two.say(first.body)
    one.hear(two)
    assert one.keyring.secret_of(epoch_name(copied.cid)) is None


def test_a_member_comes_back_to_a_secret_that_it_has() -> None:
    one, two, three = peers = swarm(3, 1)
    before = three.keyring.current()
    one.remove(three)
    one.mint()
    one.say(Vote(three.identity.author, "admit"))
    meet(*peers)
    assert one.keyring.current() == three.keyring.current() == before
    two.mint()
    meet(*peers)
    assert one.keyring.current() == three.keyring.current() != before


def test_a_welcome_that_would_not_count_is_not_written() -> None:
    one, two = swarm(2, 1)
    ann = invited(one, 10)
    (join,) = one.ledger.roster().pending
    with pytest.raises(MembershipError, match="would not count; its invite has expired"):
        one.keyring.welcome_for(join, NOW + DAY + 1)
    with pytest.raises(MembershipError, match="no join that is here"):
        two.keyring.welcome_for(join, NOW)
    with pytest.raises(MembershipError, match="is no member"):
        ann.keyring.welcome_for(join, NOW)
    one.remove(two)
    with pytest.raises(StateError, match="after the next rekey"):
        one.keyring.welcome_for(join, NOW)
    one.mint()
    welcome(one, ann)
    with pytest.raises(MembershipError, match="would not count"):
        one.keyring.welcome_for(join, NOW)


def test_a_key_that_is_none_harms_its_owner_alone() -> None:
    one, two = swarm(2, 1)
    bad = Peer(person(10), one.ledger.policy)
    invite = one.say(Invite(KEY.author, 1, NOW + DAY))
    bad.hear(one)
    body = Join(bytes(32), invite.cid, prove_join(KEY, SWARM, bad.identity.author))
    join = compose_record(bad.identity, SWARM, [], NOW, body)
    one.ledger.add(join.data)
    with pytest.raises(SealError):
        one.keyring.welcome_for(join.cid, NOW)
    one.say(Welcome(join.cid, one.keyring.current()[0], bytes(32), bytes(48)))  # type: ignore[index]
    one.mint()
    meet(one, two)
    assert one.keyring.current() == two.keyring.current() is not None


def test_more_members_than_a_rekey_holds_are_refused_and_named() -> None:
    (one,) = swarm(1, 1)
    epoch = one.keyring.current()
    assert epoch is not None
    invites = [one.say(Invite(KEY.author, 16, NOW + DAY)) for _ in range(48)]
    people = [Identity.from_seed(number.to_bytes(32, "big")) for number in range(740)]
    for number, newcomer in enumerate(people):
        proof = prove_join(KEY, SWARM, newcomer.author)
        join = compose_record(newcomer, SWARM, [], NOW, Join(bytes(31) + b"\x09", invites[number // 16].cid, proof))
        one.ledger.history.add(join)
        if number == MAX_MEMBERS - 1:
            body = one.keyring.mint()
            assert len(body.sealed) == MAX_MEMBERS
            compose_record(one.identity, SWARM, [], NOW, body)
            with pytest.raises(SwarmSizeError, match="has 700 members"):
                one.keyring.welcome_for(join.cid, NOW)
        body = Welcome(join.cid, epoch[0], bytes(32), bytes(48))
        one.ledger.history.add(compose_record(one.identity, SWARM, [join.cid, *one.ledger.heads()], NOW, body))
        one.ledger._roster = None
    with pytest.raises(SwarmSizeError, match="741 members and 0 that are gone need a rekey of"):
        one.keyring.mint()


def test_no_secret_is_in_a_text() -> None:
    one, two = swarm(2, 1)
    ann = invited(one, 10)
    _, secret = one.keyring.current() or pytest.fail("no secret")
    assert one.keyring.root is not None
    one.say(Unknown("note"))
    texts = [repr(one.keyring), repr(one.ledger.roster()), repr(one.keyring.mint()), repr(list(one.ledger.history))]
    for action in (ann.keyring.mint, lambda: two.keyring.welcome_for(one.ledger.heads()[0], NOW)):
        with pytest.raises(LearnaeError) as caught:
            action()
        texts.append(repr(caught.value))
    for hidden in (secret, one.keyring.root):
        for text in texts:
            assert hidden.hex() not in text
            assert repr(hidden)[2:-1] not in text


def test_a_keyring_opens_the_same_again_after_a_restart() -> None:
    one, two, three = swarm(3, 1)
    one.remove(three)
    one.mint()
    two.hear(one)
    again = Keyring(two.identity, two.ledger)
    assert (again.current(), again.root, again.names()) == (
        two.keyring.current(), two.keyring.root, two.keyring.names(),
    )  # fmt: skip
    with pytest.raises(ReplayError):
        two.ledger.add(one.ledger.history.since(0)[0].data)
