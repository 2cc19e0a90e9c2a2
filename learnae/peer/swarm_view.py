"""What attached messages say: names of peers, their summaries, and what this peer itself has published."""

from learnae.basics.error_log import ErrorLog
from learnae.basics.peer_names import look_alike, told_apart
from learnae.errors import MembershipError
from learnae.membership.gate import Gate
from learnae.peer.following import Following
from learnae.peer.learning.training import Training
from learnae.ports import Traffic
from learnae.protocol.bodies import Contributions, Evidence, Join, Profile, Sealed, Summary, Update
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message
from learnae.protocol.sum_bodies import SumBody
from learnae.protocol.tangle import Outcome, Tangle


class SwarmView:
    """Takes in attached messages in the name of the peer ``me``.

    ``names`` holds each author's last profile; ``checkpointed`` is when this peer published its last checkpoint, Unix
    milliseconds, ``checkpoint`` that message's seq, ``summary`` the message with its last summary; ``epoch`` names the
    key epoch of what it said last of itself, empty in an open swarm. ``summaries`` holds the last of each other author:
    a checkpoint if that does not train. ``released`` is how many noisy releases what it has published counts, 0 without
    differential privacy. What those teach who are ``left_out``, as people or a proof say, is not taken in.
    """

    def __init__(
        self, me: bytes, following: Following, training: Training, traffic: Traffic, errors: ErrorLog, gate: Gate
    ) -> None:
        self.names: dict[bytes, Profile] = {}
        self.checkpointed = 0
        self.checkpoint = -1
        self.summary: Message | None = None
        self.summaries: dict[bytes, Message] = {}
        self.has_new_summaries = False
        self.epoch = b""
        self.released = 0
        self.left_out: frozenset[bytes] = frozenset()
        self._seq = -1  # of what ``epoch`` is about
        self._me = me
        self._following = following
        self._training = training
        self._traffic = traffic
        self._errors = errors
        self._gate = gate

    def note(self, outcome: Outcome) -> None:
        """Take in what was attached."""
        for message in outcome.attached:
            self._following.note(message)
            profile = profile_of(message)
            if profile is not None:
                self.names[message.author] = profile
                self._check_role(message.author, profile)
            if message.author == self._me:
                self.note_own(message)
            else:
                self._note_other(message)

    def fits(self, author: bytes) -> bool:
        """Return True if an author is not left out, and works in the role in which it was let in, as far as it said."""
        profile = self.names.get(author)
        if author in self.left_out:
            return False
        return profile is None or self._gate.fits(author, profile.role)

    def leave_out(self, authors: frozenset[bytes]) -> None:
        """Leave out exactly these authors from now on."""
        self.has_new_summaries |= not self.left_out.symmetric_difference(authors).isdisjoint(self.summaries)
        self.left_out = authors

    def believed(self) -> dict[bytes, Message]:
        """Return the summaries of those who are not left out."""
        return {author: said for author, said in self.summaries.items() if author not in self.left_out}

    def _check_role(self, author: bytes, profile: Profile) -> None:
        if not self._gate.fits(author, profile.role):
            problem = f"{peer_name(author)[:8]} works as {profile.role}, and was let in as another"
            self._errors.count(MembershipError(problem, "what it teaches is left out"))

    def forget_absent(self, tangle: Tangle) -> None:
        """Forget names and summaries of authors of whom ``tangle`` holds nothing any more."""
        self.names = {author: profile for author, profile in self.names.items() if tangle.newest_of(author)}
        gone = [author for author in self.summaries if not tangle.newest_of(author) or tangle.is_banned(author)]
        for author in gone:
            del self.summaries[author]
            self.has_new_summaries = True

    def shown(self, name: str) -> str:
        """Return how this peer, which calls itself ``name``, is shown: told apart from all others that are known."""
        me = peer_name(self._me)
        others = ((author, profile.name) for author, profile in self.names.items() if author != self._me)
        alike = {peer_name(author): other for author, other in others if look_alike(name, other)}
        return told_apart({me: name, **alike})[me]

    def note_own(self, message: Message) -> None:
        """Take in a message that this peer has published, perhaps in a run that its state has forgotten."""
        body, traffic = message.body, self._traffic
        if message.checkpoint:
            self.checkpointed = max(self.checkpointed, message.time)
            self.checkpoint = max(self.checkpoint, message.seq)
        if message.seq > self._seq and not isinstance(body, (Contributions, Evidence, Sealed, SumBody)):
            self._seq, self.epoch = message.seq, message.epoch
        if isinstance(body, Update):  # of a later time than a state from a backup
            self._training.steps = max(self._training.steps, body.steps)
            traffic.bytes_out = max(traffic.bytes_out, body.bytes_out)
            traffic.bytes_in = max(traffic.bytes_in, body.bytes_in)
            if body.privacy:
                self.released = max(self.released, body.privacy.releases)
        if isinstance(body, Summary) and (self.summary is None or message.seq > self.summary.seq):
            self.summary = message

    def _note_other(self, message: Message) -> None:
        known = self.summaries.get(message.author)
        if isinstance(message.body, Summary) and (known is None or message.seq > known.seq):
            self.summaries[message.author] = message
            self.has_new_summaries |= known is None or (known.body, known.checkpoint) != (
                message.body,
                message.checkpoint,
            )


def profile_of(message: Message) -> Profile | None:
    """Return how the author of ``message`` introduces itself in it, if it does."""
    return message.body.peer if isinstance(message.body, (Join, Update, Summary)) else None
