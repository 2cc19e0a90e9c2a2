"""Strangers that ask members to vouch for them: heard in bounded number, shown, and told nothing that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import tiny_manifest
from test_admission import CallerEnd, DeskEnd, Line, Meeting

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.errors import ConfigurationError, LimitError
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.policy import VOUCHED, Founder, MembershipPolicy
from learnae.membership.records import ADMIT, Join, Leave, Vote, compose_record
from learnae.membership.rendezvous import public_key, vouch_seed
from learnae.peer.members.records_here import open_gate
from learnae.protocol.identity import Identity
from learnae.runtime.admission.applicant import Applicant
from learnae.runtime.admission.doorkeeper import Doorkeeper
from learnae.runtime.admission.strangers import MOST_STRANGERS, SILENT_SECONDS, StrangerBook
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import create_swarm

START = 1_800_000_000_000


class Vouching(Meeting):
    """Two founders, of whom both must vote; one of them answers here."""

    def __init__(self, root: Path) -> None:
        self.now, self.uptime = START, 0.0
        self.owner, self.second, self.joiner = (Identity.generate() for _ in range(3))
        founders = [Founder(one.author, one.x25519) for one in (self.owner, self.second)]
        self.manifest = tiny_manifest(membership=MembershipPolicy.of(VOUCHED, founders, 2))
        self.directory = create_swarm(self.manifest, root / "swarm").directory
        self.store = LocalBlockStore(self.directory)
        self.registrar = Registrar(self.directory, self.manifest, self.store)
        self.registrar.found(self.owner)
        seed = vouch_seed(self.manifest.swarm)
        self.code = InviteCode(self.manifest.swarm, seed)
        self.line = Line(public_key(seed))
        self.errors = ErrorLog()
        self.gate = open_gate(self.manifest, self.store, self.errors)
        self.doorkeeper = Doorkeeper(
            DeskEnd(self.line), self.owner.author, self.manifest, self.gate, self.store, self.errors, lambda: self.now
        )
        self.applicant = self.apply()
        self.book = StrangerBook(self.gate, self.store, lambda: self.uptime)

    def vote(self, who: Identity) -> None:
        ledger = self.gate.ledger
        assert ledger is not None
        (join,) = [record for record in ledger.records() if isinstance(record.body, Join)]
        body = Vote(join.author, ADMIT, join.cid)
        record = compose_record(who, self.manifest.swarm, ledger.heads(), self.now, body)
        self.gate.take(record.data)
        self.store.put(0x71, record.data)

    def wish(self, who: Identity | None = None):
        who = who or Identity.generate()
        return compose_record(who, self.manifest.swarm, (), START, Join(who.x25519))

    def waiting(self) -> int:
        ledger = self.gate.ledger
        assert ledger is not None
        return len(ledger.roster().pending)


@pytest.fixture
def vouching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vouching:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    return Vouching(tmp_path)


def test_who_knows_the_id_alone_is_in_once_enough_members_have_voted(vouching: Vouching) -> None:
    vouching.turn(4, welcomes=False)
    piece = str(vouching.applicant.describe()).rpartition(" ")[2]
    assert vouching.applicant.describe() == f"waiting until members have voted: learnae admit {piece}"
    ledger = vouching.gate.ledger
    assert ledger is not None
    assert vouching.waiting() == 1
    assert vouching.gate.announced(vouching.owner.author) == list(ledger.heads()), (
        "no member passes on what none vouches for"
    )
    vouching.vote(vouching.owner)
    vouching.turn(2, welcomes=False)
    assert not vouching.applicant.is_in
    vouching.vote(vouching.second)
    vouching.welcome()
    vouching.now += 5000
    vouching.turn(10)
    assert vouching.applicant.is_in
    assert vouching.errors.counts == {}
    assert vouching.doorkeeper.serve() == 0
    assert vouching.applicant.describe() == "a member"


def test_an_asker_learns_the_definition_alone_before_it_is_in(vouching: Vouching) -> None:
    vouching.line.ask()
    vouching.line.ask(vouching.wish().data)
    vouching.doorkeeper.serve()
    assert [answer.blocks for answer in vouching.line.answers] == [(vouching.manifest.to_bytes(),)]


def test_strangers_take_bounded_room_and_the_one_unheard_for_longest_makes_room(vouching: Vouching) -> None:
    before, wishes = set(vouching.store.cids()), [vouching.wish() for _ in range(MOST_STRANGERS + 1)]
    for wish in wishes[:-1]:
        assert vouching.book.note(wish)
    assert not vouching.book.note(wishes[0]), "heard again, it is the one heard last"
    with pytest.raises(LimitError):
        vouching.book.note(wishes[-1])
    vouching.uptime += 60
    assert vouching.book.note(wishes[-1])
    kept = {wish.cid for wish in wishes} - {wishes[1].cid}
    assert set(vouching.store.cids()) - before == kept
    assert vouching.waiting() == MOST_STRANGERS
    vouching.uptime += SILENT_SECONDS + 1
    vouching.book.note(wishes[-1])
    vouching.book.age()
    assert set(vouching.store.cids()) - before == {wishes[-1].cid}


def test_another_wish_of_one_stranger_takes_the_place_of_its_first(vouching: Vouching) -> None:
    who = Identity.generate()
    first = vouching.wish(who)
    second = compose_record(who, vouching.manifest.swarm, (), START + 1, Join(who.x25519))
    assert vouching.book.note(first)
    assert vouching.book.note(second)
    assert vouching.waiting() == 1
    vouching.vote(vouching.owner)
    for _ in range(MOST_STRANGERS):
        vouching.uptime += 60
        vouching.book.note(vouching.wish())
    ledger = vouching.gate.ledger
    assert ledger is not None
    assert second.cid in ledger, "a member has named it: it is kept"
    assert second.cid in set(vouching.store.cids())


def test_what_is_no_wish_is_not_kept(vouching: Vouching) -> None:
    before = set(vouching.store.cids())
    who = Identity.generate()
    some = next(iter(before))
    for data in (
        compose_record(who, vouching.manifest.swarm, (), START, Leave()).data,
        compose_record(who, vouching.manifest.swarm, (some,), START, Join(who.x25519)).data,
        compose_record(who, vouching.manifest.swarm, (), START, Join(who.x25519, some, bytes(64))).data,
        compose_record(who, some, (), START, Join(who.x25519)).data,
        vouching.wish().data[:-1] + b"\0",
        b"no record",
    ):
        vouching.line.ask(data)
    assert vouching.doorkeeper.serve() == 0
    assert set(vouching.store.cids()) == before
    assert sum(vouching.errors.counts.values()) == 6


def test_the_id_of_a_swarm_by_invite_lets_no_one_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    meeting = Meeting(tmp_path)
    create_swarm(meeting.manifest)
    code = InviteCode(meeting.manifest.swarm, vouch_seed(meeting.manifest.swarm))
    with pytest.raises(ConfigurationError, match="invite others; ask a member for another: learnae invite"):
        Applicant(code, meeting.joiner, "trainer", CallerEnd(meeting.line))
