"""From a code to a member, without a network: what is lost, forged, refused or repeated on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import pytest
from builders import tiny_manifest

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import ConfigurationError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.key_epochs import Keyring
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import Join, Leave, compose_record
from learnae.membership.rendezvous import EXPIRED, REFUSALS, USED_UP, WITHDRAWN, Answer, Question
from learnae.peer.members.records_here import open_gate
from learnae.ports import InviteCaller, InviteDesk
from learnae.protocol.identity import Identity
from learnae.runtime.admission.applicant import Applicant
from learnae.runtime.admission.application import (
    find_application,
    forget_application,
    keep_application,
    take_handed_over,
)
from learnae.runtime.admission.doorkeeper import Doorkeeper
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import create_swarm
from learnae.system.paths import home

START = 1_800_000_000_000


class Line:
    """Holds what one joiner and one member say to each other, as far as a test does not lose it."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.keys: Collection[bytes] = ()
        self.questions: list[Question] = []
        self.answers: list[Answer] = []
        self.lost = 0  # answers that are still to be lost

    def ask(self, join: bytes = b"") -> None:
        self.questions.append(Question(bytes(16), join))


class DeskEnd(InviteDesk):
    """The member's end of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @override
    def open(self, keys: Collection[bytes]) -> None:
        self._line.keys = keys

    @override
    def take(self) -> list[tuple[bytes, Question]]:
        asked, self._line.questions = self._line.questions, []
        return [(self._line.key, question) for question in asked if self._line.key in self._line.keys]

    @override
    def answer(self, key: bytes, question: Question, answers: Iterable[Answer]) -> None:
        for answer in answers:
            if self._line.lost:
                self._line.lost -= 1
            else:
                self._line.answers.append(answer)


class CallerEnd(InviteCaller):
    """The joiner's end of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @override
    def ask(self, join: bytes = b"") -> None:
        self._line.ask(join)

    @override
    def take(self) -> list[Answer]:
        answers, self._line.answers = self._line.answers, []
        return answers

    @override
    def close(self) -> None:
        self._line.answers.clear()


class Meeting:
    """A member's machine, whose owner has invited one; and the joiner's, which is this test's home."""

    def __init__(self, root: Path, uses: int = 1) -> None:
        self.now, self.uptime = START, 0.0
        self.owner, self.joiner = Identity.generate(), Identity.generate()
        policy = MembershipPolicy.of("invite", [Founder(self.owner.author, self.owner.x25519)])
        self.manifest = tiny_manifest(membership=policy)
        self.directory = create_swarm(self.manifest, root / "swarm").directory
        self.store = LocalBlockStore(self.directory)
        self.registrar = Registrar(self.directory, self.manifest, self.store)
        self.registrar.found(self.owner)
        record, seed = self.registrar.invite(self.owner, uses, START + 60_000)
        self.invite = record.cid
        self.code = InviteCode(self.manifest.swarm, seed, ("mqtt://192.0.2.7",))
        self.line = Line(self.code.identity.author)
        self.errors = ErrorLog()
        self.gate = open_gate(self.manifest, self.store, self.errors)
        self.doorkeeper = Doorkeeper(
            DeskEnd(self.line), self.owner.author, self.manifest, self.gate, self.store, self.errors, lambda: self.now
        )
        self.applicant = self.apply()

    def apply(self, joiner: Identity | None = None, role: str = "trainer") -> Applicant:
        """Begin, or go on after a kill."""
        return Applicant(self.code, joiner or self.joiner, role, CallerEnd(self.line), lambda: self.uptime)

    def welcome(self) -> None:
        """Do what a member's peer does at its tick."""
        ledger = self.gate.ledger
        assert ledger is not None
        for cid in ledger.roster().pending:
            body = Keyring(self.owner, ledger).welcome_for(cid, self.now)
            record = compose_record(self.owner, self.manifest.swarm, ledger.heads(), self.now, body)
            self.gate.take(record.data)
            self.store.put(DAG_CBOR, record.data)

    def turn(self, times: int = 1, welcomes: bool = True) -> None:
        for _ in range(times):
            self.applicant.turn()
            self.doorkeeper.serve()
            if welcomes:
                self.welcome()
            self.uptime += 1.5

    def refusal(self) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.turn(5)
        return str(caught.value)

    def say(self, record: object) -> None:
        """Let the member's peer hear what a command has signed beside it."""
        self.gate = open_gate(self.manifest, self.store, self.errors)
        self.doorkeeper = Doorkeeper(
            DeskEnd(self.line), self.owner.author, self.manifest, self.gate, self.store, self.errors, lambda: self.now
        )


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Meeting:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    return Meeting(tmp_path)


def test_a_code_becomes_a_member_who_knows_where_the_others_meet(meeting: Meeting) -> None:
    meeting.turn(4)
    assert meeting.applicant.is_in
    assert meeting.applicant.describe() == "a member"
    assert meeting.errors.counts == {}
    meeting.applicant.close()
    assert meeting.apply().is_in, "also after a restart, from what is stored"


def test_what_is_lost_is_asked_for_again_and_one_join_is_signed(meeting: Meeting) -> None:
    meeting.line.lost = 2
    for _ in range(8):
        meeting.turn()
        meeting.applicant.close()
        meeting.applicant = meeting.apply()  # killed after every step
    assert meeting.applicant.is_in
    ledger = meeting.gate.ledger
    assert ledger is not None
    assert sum(isinstance(record.body, Join) for record in map(ledger.get, ledger.cids()) if record) == 1


def test_what_strangers_answer_makes_no_difference(meeting: Meeting) -> None:
    other = tiny_manifest(name="other", membership=meeting.manifest.membership)
    stranger = Identity.generate()
    forged = compose_record(stranger, meeting.manifest.swarm, (), START, Leave())
    flipped = bytearray(forged.data)
    flipped[60] ^= 1
    noise = (other.to_bytes(), b"", b"no block", forged.data, bytes(flipped), bytes(70_000))
    for _ in range(4):
        meeting.line.answers.append(Answer(noise))
        meeting.line.answers += [Answer(refusal=refusal) for refusal in REFUSALS if not meeting.applicant.is_in]
        meeting.turn()
    assert meeting.applicant.is_in
    assert [path.name for path in (home() / "swarms").iterdir()] == [str(meeting.manifest.swarm)]
    with LocalBlockStoreOf(meeting) as stored:
        assert forged.cid not in stored


class LocalBlockStoreOf:
    """The names of the blocks that the joiner has kept."""

    def __init__(self, meeting: Meeting) -> None:
        self._store = LocalBlockStore(home() / "swarms" / str(meeting.manifest.swarm))

    def __enter__(self) -> set[Cid]:
        return set(self._store.cids())

    def __exit__(self, *_: object) -> None:
        self._store.close()


def test_an_invite_is_refused_once_it_has_expired_and_nothing_is_given(meeting: Meeting) -> None:
    meeting.now = START + 60_001
    assert "the invite has expired; ask a member for another: learnae invite" in meeting.refusal()
    assert not (home() / "swarms").exists()
    meeting.now = START + 60_000 + 7 * 86_400_000
    meeting.line.answers.clear()
    meeting.doorkeeper.serve()
    meeting.say(None)
    meeting.line.ask()
    meeting.doorkeeper.serve()
    assert meeting.line.answers == [], "long after its life there is no answer at all"


def test_an_invite_that_was_taken_back_or_used_by_another_is_refused(meeting: Meeting, tmp_path: Path) -> None:
    meeting.turn(4)
    late = meeting.apply(Identity.generate())
    meeting.applicant.close()
    meeting.applicant = late
    assert "used up" in meeting.refusal()
    record, seed = meeting.registrar.invite(meeting.owner, 1, START + 60_000)
    meeting.registrar.uninvite(meeting.owner, record.cid)
    meeting.code = InviteCode(meeting.manifest.swarm, seed, ("mqtt://192.0.2.7",))
    meeting.line.key = meeting.code.identity.author
    meeting.say(record)
    meeting.applicant.close()
    meeting.applicant = meeting.apply(Identity.generate())
    assert "was taken back" in meeting.refusal()
    assert {EXPIRED, USED_UP, WITHDRAWN} == set(REFUSALS)


def test_who_was_let_in_before_the_invite_ended_still_gets_its_welcome(meeting: Meeting) -> None:
    meeting.turn(3, welcomes=False)
    meeting.welcome()
    meeting.now = START + 60_001
    meeting.turn(2)
    assert meeting.applicant.is_in


def test_an_invite_for_agents_lets_no_trainer_in(meeting: Meeting) -> None:
    record, seed = meeting.registrar.invite(meeting.owner, 1, START + 60_000, "agent")
    meeting.code = InviteCode(meeting.manifest.swarm, seed, ("mqtt://192.0.2.7",))
    meeting.line.key = meeting.code.identity.author
    meeting.say(record)
    meeting.applicant = meeting.apply()
    assert "the invite is for the role agent" in meeting.refusal()


def test_a_join_that_proves_nothing_is_not_stored_and_who_is_no_member_answers_nothing(meeting: Meeting) -> None:
    stranger = Identity.generate()
    join = compose_record(stranger, meeting.manifest.swarm, (), START, Join(stranger.x25519, meeting.invite, bytes(64)))
    meeting.line.ask(join.data)
    meeting.line.ask(compose_record(stranger, meeting.manifest.swarm, (), START, Leave()).data)
    meeting.line.ask(b"no record")
    before = set(meeting.store.cids())
    assert meeting.doorkeeper.serve() == 0
    assert set(meeting.store.cids()) == before
    assert sum(meeting.errors.counts.values()) == 3
    outsider = Doorkeeper(
        DeskEnd(meeting.line), stranger.author, meeting.manifest, meeting.gate, meeting.store, meeting.errors,
        lambda: START,
    )  # fmt: skip
    outsider.serve()
    assert meeting.line.keys == ()


def test_a_code_that_systemd_hands_over_is_kept_and_a_damaged_one_is_named(
    meeting: Meeting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, directory = tmp_path / "credentials", tmp_path / "peer"
    credentials.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    take_handed_over(directory)
    assert not directory.exists()
    (credentials / "learnae_invite-code").write_text(f"{meeting.code.to_text()}\n")
    take_handed_over(directory)
    assert (directory.stat().st_mode & 0o777, (directory / "invite-code").stat().st_mode & 0o777) == (0o700, 0o600)
    found = find_application(directory)
    assert found is not None
    assert found.seed == meeting.code.seed
    (credentials / "learnae_invite-code").write_text(f"{meeting.code.to_text()[:-1]}\n")
    with pytest.raises(ConfigurationError, match="learnae_invite-code: ") as caught:
        take_handed_over(directory)
    assert meeting.code.to_text()[:40] not in str(caught.value)


def test_a_code_is_kept_for_its_owner_alone_until_it_is_of_no_use(meeting: Meeting, tmp_path: Path) -> None:
    assert find_application(tmp_path) is None
    keep_application(tmp_path, meeting.code)
    assert (tmp_path / "invite-code").stat().st_mode & 0o777 == 0o600
    found = find_application(tmp_path)
    assert found is not None
    assert (found.swarm, found.seed, found.addresses) == (meeting.code.swarm, meeting.code.seed, meeting.code.addresses)
    forget_application(tmp_path)
    forget_application(tmp_path)
    assert find_application(tmp_path) is None
