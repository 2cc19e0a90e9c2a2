"""The doorkeeper: what a running member answers to machines that want to come in."""

from collections.abc import Callable

from learnae.basics.error_log import ErrorLog
from learnae.errors import MembershipError, NotWrittenError, PeerError
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.gate import Gate
from learnae.membership.ledger import Ledger
from learnae.membership.policy import VOUCHED
from learnae.membership.records import Invite, Join, Record, Uninvite, open_record
from learnae.membership.rendezvous import (
    EXPIRED,
    USED_UP,
    WITHDRAWN,
    Answer,
    Question,
    answers,
    public_key,
    vouch_seed,
)
from learnae.ports import BlockStore, InviteDesk
from learnae.protocol.limits import HOUR
from learnae.runtime.admission.strangers import StrangerBook
from learnae.swarm.manifest import Manifest

_MOST_INVITES = 64  # the newest, for which questions are heard
_SAID_MS = 7 * 24 * HOUR  # for which holders of a code are told that it has expired
_RECORDS_MS = 3_000  # between two answers with all records, to those who need no invite to ask for them


class Doorkeeper:
    """Answers at ``desk`` while ``author`` is a member: with the manifest, and with the records that let a joiner in.

    ``now`` tells Unix milliseconds. All is done in the thread that calls ``serve``.
    """

    def __init__(
        self,
        desk: InviteDesk,
        author: bytes,
        manifest: Manifest,
        gate: Gate,
        store: BlockStore,
        errors: ErrorLog,
        now: Callable[[], int],
    ) -> None:
        self._desk = desk
        self._author = author
        self._manifest = manifest
        self._swarm = manifest.swarm
        self._gate = gate
        self._store = store
        self._errors = errors
        self._now = now
        self._strangers: StrangerBook | None = None
        self._told = 0  # when all records were last sent to one who was voted in
        if manifest.membership and manifest.membership.kind == VOUCHED:
            self._strangers = StrangerBook(gate, store)
        self._known = -1  # records of the history, when the next was worked out
        self._invites: dict[bytes, Record] = {}  # by key, newest first

    def serve(self) -> int:
        """Answer what has been asked since; return how many joins were taken in."""
        ledger = self._gate.ledger
        if ledger is None or not self._gate.admits(self._author):
            self._desk.open(())
            return 0
        if self._strangers is not None:
            return self._serve_strangers(ledger, self._strangers)
        self._note_invites(ledger)
        taken = 0
        for key, question in self._desk.take():
            invite = self._invites.get(key)
            if invite is None:
                continue
            try:
                taken += self._reply(ledger, invite, key, question)
            except (PeerError, NotWrittenError) as error:
                self._errors.count(error)
        return taken

    def _serve_strangers(self, ledger: Ledger, strangers: StrangerBook) -> int:
        self._desk.open([public_key(vouch_seed(self._swarm))])
        strangers.age()
        taken = 0
        for key, question in self._desk.take():
            try:
                taken += self._reply_to_stranger(ledger, strangers, key, question)
            except (PeerError, NotWrittenError) as error:
                self._errors.count(error)
        return taken

    def _reply_to_stranger(self, ledger: Ledger, strangers: StrangerBook, key: bytes, question: Question) -> bool:
        """Answer one question of who knows the swarm's id alone; return True if a new wish was noted.

        Raises PeerError or NotWrittenError.
        """
        if not question.join:
            self._desk.answer(key, question, answers([self._manifest.to_bytes()]))
            return False
        join = open_record(question.join, self._swarm)
        if join.author not in ledger.roster().members:
            return strangers.note(join)
        if abs(self._now() - self._told) >= _RECORDS_MS:
            self._told = self._now()
            self._desk.answer(key, question, answers(record.data for record in ledger.records()))
        return False

    def _note_invites(self, ledger: Ledger) -> None:
        if len(ledger.history) == self._known:
            return
        self._known = len(ledger.history)
        found = [record for record in ledger.records() if isinstance(record.body, Invite)]
        found.sort(key=lambda record: (record.time, record.cid), reverse=True)
        self._invites = {}
        for record in found[:_MOST_INVITES]:
            assert isinstance(record.body, Invite)
            if record.body.expires + _SAID_MS > self._now():
                self._invites.setdefault(record.body.key, record)
        self._desk.open(list(self._invites))

    def _reply(self, ledger: Ledger, invite: Record, key: bytes, question: Question) -> bool:
        """Answer one question; return True if a new join was taken in. Raises PeerError or NotWrittenError."""
        join = self._checked(question.join, invite) if question.join else None
        if join is not None and join.author in ledger.roster().members:
            self._desk.answer(key, question, answers(record.data for record in ledger.records()))
            return False
        if refusal := self._why_not(ledger, invite):
            self._desk.answer(key, question, [Answer(refusal=refusal)])
            return False
        if join is None:
            blocks = (self._manifest.to_bytes(), *(record.data for record in ledger.records()))
            self._desk.answer(key, question, answers(blocks))
            return False
        if join.cid in ledger:
            return False  # until a member has welcomed it
        self._gate.take(join.data)  # refuses what proves nothing
        self._store.put(DAG_CBOR, join.data)
        return True

    def _checked(self, data: bytes, invite: Record) -> Record:
        """Return the join in a question; raises PeerError for anything else than one by this invite."""
        record = open_record(data, self._swarm)
        if not isinstance(record.body, Join) or record.body.via != invite.cid:
            raise MembershipError("a question with another record than a join by that invite", "it is ignored")
        return record

    def _why_not(self, ledger: Ledger, invite: Record) -> str:
        """Return why the invite lets no one in now; empty if it does."""
        assert isinstance(invite.body, Invite)
        if invite.body.expires < self._now():
            return EXPIRED
        if invite.cid in ledger.roster().invites:
            return ""
        taken_back = (record.body.invite for record in ledger.records() if isinstance(record.body, Uninvite))
        is_void = invite.cid in taken_back or not ledger.may_speak(invite.author)
        return WITHDRAWN if is_void else USED_UP
