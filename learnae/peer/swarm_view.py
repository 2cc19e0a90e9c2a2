"""What attached messages say: names of peers, proofs of equivocation, and what this peer itself has published."""

from learnae.peer.following import Following
from learnae.peer.training import Training
from learnae.ports import Traffic
from learnae.protocol.bodies import Evidence, Join, Summary, Update
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Outcome, Tangle


class SwarmView:
    """Takes in attached messages in the name of the peer ``me``.

    ``names`` holds each author's last Join, ``to_accuse`` those who have equivocated and are not accused yet;
    ``introduced`` is when this peer said its own name last, ``summary`` its last one with the time of it, Unix
    milliseconds.
    """

    def __init__(self, me: bytes, following: Following, training: Training, traffic: Traffic) -> None:
        self.names: dict[bytes, Join] = {}
        self.to_accuse: dict[bytes, Evidence] = {}
        self.accused: set[bytes] = set()
        self.introduced = 0
        self.summary: Summary | None = None
        self.summary_time = 0
        self._me = me
        self._following = following
        self._training = training
        self._traffic = traffic

    @property
    def is_banned(self) -> bool:
        """Return True if this peer's key has signed two messages with one seq."""
        return self._me in self.to_accuse

    def note(self, outcome: Outcome) -> None:
        """Take in what was attached."""
        for message in outcome.attached:
            self._following.note(message)
            if isinstance(message.body, Join):
                self.names[message.author] = message.body
            if message.author == self._me:
                self._note_own(message)
        for equivocation in outcome.equivocations:
            self.to_accuse.setdefault(equivocation.author, equivocation)

    def forget_pruned(self, tangle: Tangle) -> None:
        """Forget names of authors of whom ``tangle`` holds nothing any more."""
        self.names = {author: join for author, join in self.names.items() if tangle.newest_of(author)}

    def _note_own(self, message: Message) -> None:
        body, traffic = message.body, self._traffic
        if isinstance(body, Update):  # of a later time than a state from a backup
            self._training.steps = max(self._training.steps, body.steps)
            traffic.bytes_out = max(traffic.bytes_out, body.bytes_out)
            traffic.bytes_in = max(traffic.bytes_in, body.bytes_in)
        if isinstance(body, Join):
            self.introduced = message.time
        if isinstance(body, Evidence):
            self.accused.add(body.author)
        if isinstance(body, Summary) and message.time > self.summary_time:
            self.summary, self.summary_time = body, message.time
