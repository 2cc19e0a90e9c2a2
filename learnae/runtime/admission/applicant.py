"""The applicant: a peer that wants to come in, from its first question until it is a member.

All that it learns is put where the swarm's peers have it: a process that is killed anywhere goes on from there.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import ConfigurationError, ManifestError, ModelError, PeerError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.member_secrets import MemberSecrets
from learnae.membership.policy import VOUCHED
from learnae.membership.records import ANY_ROLE, Invite, Record, is_record
from learnae.membership.rendezvous import EXPIRED, USED_UP, Answer, vouch_seed
from learnae.ports import InviteCaller
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import Swarm, create_swarm, open_swarm
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import is_there
from learnae.system.paths import MANIFEST_FILE, home

_REPEAT_SECONDS = 1.0, 10.0  # between two questions: at first, and after some minutes
_PATIENT_AFTER = 60  # questions
_ENOUGH = 3  # questions, of which a member that is online would have answered one
_SECOND_OPINION = 2.0  # seconds in which a member may say otherwise, once another has refused
_ASK_AGAIN = "ask a member for another: learnae invite"


class Applicant:
    """Asks with ``caller`` for the swarm of ``code``, then to be let in as ``identity``. Raises ConfigurationError.

    Where members vouch, the code holds no invite's seed: one that follows from the swarm's id.

    ``swarm`` is known once a member has answered.
    """

    def __init__(
        self,
        code: InviteCode,
        identity: Identity,
        role: str,
        caller: InviteCaller,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.swarm: Swarm | None = None
        self._code = code
        self._identity = identity
        self._role = role
        self._caller = caller
        self._monotonic = monotonic
        self._is_vouched = code.seed == vouch_seed(code.swarm)
        self._store: LocalBlockStore | None = None
        self._registrar: Registrar | None = None
        self._asked = 0
        self._has_heard = False
        self._next = float("-inf")
        self._refusal = ""
        self._refused_at = 0.0
        directory = home() / "swarms" / str(code.swarm)
        if is_there(directory / MANIFEST_FILE):
            self._enter(open_swarm(directory))

    @property
    def is_in(self) -> bool:
        """Return True if a member has welcomed this peer, and told it where the others meet."""
        if self._registrar is None:
            return False
        ledger = self._registrar.ledger
        return ledger.may_speak(self._identity.author) and MemberSecrets(self._identity, ledger).root is not None

    def describe(self) -> str:
        """Return for people how far it has come."""
        if self.is_in:
            return "a member"
        if self._has_heard and self._is_vouched:
            return f"waiting until members have voted: learnae admit {peer_name(self._identity.author)[:8]}"
        if self._has_heard:
            return "waiting for a member to let this peer in"
        return "looking for a member that is online" if self._asked < _ENOUGH else "no member of the swarm is online"

    def turn(self) -> None:
        """Take in what was answered, and ask again if it is time; raises ConfigurationError if it was refused."""
        for answer in self._caller.take():
            self._has_heard = True
            self._hear(answer)
        if self.is_in:
            return
        now = self._monotonic()
        if self._refusal and now - self._refused_at >= _SECOND_OPINION:
            raise self._refused()
        if now >= self._next:
            self._next = now + _REPEAT_SECONDS[self._asked >= _PATIENT_AFTER]
            self._asked += 1
            self._ask()

    def close(self) -> None:
        """Let go of the store, and let peers of this machine know what is new."""
        if self._registrar is not None and self._store is not None:
            self._registrar.announce()
            self._store.close()

    def _enter(self, swarm: Swarm) -> None:
        if swarm.manifest.membership is None:
            raise ConfigurationError("the code is for an open swarm, which takes no invites", _ASK_AGAIN)
        if self._is_vouched and swarm.manifest.membership.kind != VOUCHED:
            raise ConfigurationError(f"members of {swarm.manifest.name!r} invite others", _ASK_AGAIN)
        self.swarm = swarm
        self._store = LocalBlockStore(swarm.directory)
        self._registrar = Registrar(swarm.directory, swarm.manifest, self._store)

    def _ask(self) -> None:
        if self._is_vouched and self._registrar is not None:
            self._caller.ask(self._registrar.ask(self._identity).data)
            return
        invite = self._invite()
        if invite is None or self._registrar is None:
            self._caller.ask()
            return
        assert isinstance(invite.body, Invite)
        if invite.body.role not in (ANY_ROLE, self._role):
            raise ConfigurationError(
                f"the invite is for the role {invite.body.role}", f"give --role {invite.body.role}"
            )
        join = self._registrar.ask(self._identity, invite.cid, self._code.seed)
        self._caller.ask(join.data)

    def _invite(self) -> Record | None:
        """Return the record of the code's invite, once a member has sent it."""
        if self._registrar is None:
            return None
        key, ledger = self._code.identity.author, self._registrar.ledger
        found = (record for record in ledger.records() if isinstance(record.body, Invite))
        return next((record for record in found if isinstance(record.body, Invite) and record.body.key == key), None)

    def _hear(self, answer: Answer) -> None:
        if answer.refusal and not self._refusal:
            self._refusal, self._refused_at = answer.refusal, self._monotonic()
        for block in answer.blocks:
            if self._registrar is None:
                self._take_manifest(block)
            elif is_record(block):
                self._take_record(self._registrar, block)

    def _take_manifest(self, block: bytes) -> None:
        if not self._code.swarm.names(block):
            return
        try:
            manifest = Manifest.from_bytes(block)
        except (ManifestError, ModelError) as error:
            raise type(error)(f"the swarm's definition: {error.problem}", error.remedy) from error
        self._refusal, self._next = "", float("-inf")  # now it can ask to be let in
        self._enter(create_swarm(manifest))

    def _take_record(self, registrar: Registrar, data: bytes) -> None:
        assert self._store is not None
        if Cid.of(DAG_CBOR, data) in registrar.ledger:
            return
        with suppress(PeerError):  # a forged one: what the swarm has signed comes from another member
            registrar.ledger.add(data)
            self._store.put(DAG_CBOR, data)
            self._refusal = "" if self.is_in else self._refusal

    def _refused(self) -> ConfigurationError:
        if self._refusal == USED_UP:
            return ConfigurationError("the invite is used up: others have joined with this code", _ASK_AGAIN)
        what = "has expired" if self._refusal == EXPIRED else "was taken back"
        return ConfigurationError(f"the invite {what}", _ASK_AGAIN)
