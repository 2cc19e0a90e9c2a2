"""Every error that Learnae raises on purpose, one branch per blame.

::

    LearnaeError
    ├── PeerError               what another peer sent is wrong: count it, drop it, go on
    │   ├── EncodingError           bytes that are not the canonical form they claim
    │   ├── MessageError            a message that breaks the protocol
    │   │   ├── SignatureError
    │   │   ├── WrongSwarmError
    │   │   ├── FutureError             dated further ahead than clocks may differ
    │   │   ├── StaleError              older than the horizon and not asked for
    │   │   ├── ReplayError             a message that this peer has seen already
    │   │   ├── SequenceError           does not continue its author's chain
    │   │   ├── BannedError             its author has equivocated
    │   │   ├── StrangerError           its author is not a member, or not any more
    │   │   ├── MembershipError         a record that breaks the protocol, or that its author may not write
    │   │   └── LimitError              larger, deeper or more frequent than allowed
    │   ├── FrameError              weights that cannot be decoded or must not be used
    │   │   └── BrokenFrameError        weights that no peer can decode: its author is banned here
    │   └── SealError               sealed bytes that do not open, or a message in the form of another swarm
    │       └── UnknownEpochError       sealed under a secret that is not here, perhaps not yet
    ├── TransportError          a block, daemon or broker is not there now: try again
    │   └── BlockMissingError
    ├── ConfigurationError      the user can mend it: exit status 78
    │   ├── ManifestError
    │   ├── ModelError              a model or layer that cannot be trained here
    │   ├── DataError               a data file that cannot be used
    │   ├── SwarmSizeError          more members than can share a secret
    │   └── EquivocationError       this peer's own key has signed two messages with one seq
    └── StateError              our own files are damaged or in use
        ├── DamagedError            a database that a command can mend
        ├── InUseError              another process has them
        └── NotWrittenError         the disk takes nothing now: try again

Every message names the thing and, where there is one, the remedy.
"""


class LearnaeError(Exception):
    """Root of all; ``remedy`` says what the reader can do about it."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}; {remedy}" if remedy else problem)


class PeerError(LearnaeError):
    """What another peer sent is wrong: count it, drop it, go on."""


class EncodingError(PeerError):
    """Bytes are not the canonical encoding they claim to be."""


class MessageError(PeerError):
    """A message breaks the protocol."""


class SignatureError(MessageError):
    """The author did not sign this message."""


class WrongSwarmError(MessageError):
    """The message belongs to another swarm."""


class FutureError(MessageError):
    """The message is dated further ahead than clocks may differ."""


class StaleError(MessageError):
    """The message is older than the horizon and was not asked for."""


class ReplayError(MessageError):
    """The message was attached before."""


class SequenceError(MessageError):
    """The message does not continue its author's chain."""


class BannedError(MessageError):
    """The message's author has equivocated."""


class StrangerError(MessageError):
    """The message's author is not a member of the swarm, or not any more."""


class MembershipError(MessageError):
    """A record of membership breaks the protocol, or its author was no member when it wrote it."""


class LimitError(MessageError):
    """The message is larger, deeper or more frequent than the protocol allows."""


class MaskError(MessageError):
    """What a member says of a masked sum does not fit the sum, or what it has said before."""


class FrameError(PeerError):
    """Published weights cannot be decoded or must not be used."""


class BrokenFrameError(FrameError):
    """Published weights are none by themselves: their author has signed what no peer can decode."""


class TrapError(PeerError):
    """Weights look as if they were made to read single rows, not to learn."""


class SealError(PeerError):
    """Sealed bytes do not open, or a message has the form that its swarm has not: open or sealed."""


class UnknownEpochError(SealError):
    """Something is sealed under the ``epoch`` of a name whose secret is not here, perhaps not yet."""

    def __init__(self, what: str, epoch: bytes) -> None:
        self.epoch = epoch
        super().__init__(
            f"{what} is sealed under key epoch {epoch.hex()}", "it is read once the secret of that epoch is here"
        )


class TransportError(LearnaeError):
    """A block, a daemon or a broker is not there now: try again."""


class BlockMissingError(TransportError):
    """The block is not here now; it may arrive later."""


class ConfigurationError(LearnaeError):
    """The user can mend it, mostly in the configuration (exit status 78)."""


class ManifestError(ConfigurationError):
    """The swarm's definition is wrong."""


class ModelError(ConfigurationError):
    """The model or one of its layers cannot be trained here."""


class DataError(ConfigurationError):
    """A data file cannot be used."""


class SwarmSizeError(ConfigurationError):
    """The swarm has more members than can share a secret."""


class EquivocationError(ConfigurationError):
    """This peer's own key has signed two messages with one seq: the others have banned it."""

    def __init__(self) -> None:
        super().__init__(
            "this peer is banned for ever: its key has signed two messages with one number, by two copies of its "
            "state, or by one that was older than what others had heard",
            "stop whatever else uses its key, and move key.pem and state out of its directory: it joins with a new key",
        )


class StateError(LearnaeError):
    """A file of our own is damaged or in use."""


class DamagedError(StateError):
    """A database of our own is damaged; the remedy names the command that mends it."""


class InUseError(StateError):
    """Another process has the file."""


class NotWrittenError(StateError):
    """The disk takes nothing now; it may when there is space again."""
