"""What can go wrong between a board and an agent, one branch per blame.

::

    LearnaeError
    ├── PeerError
    │   ├── RecordError             what came over the bridge's socket is no record
    │   ├── SenmlError              a SenML pack that breaks RFC 8428
    │   └── SerialFrameError        bytes of the serial line that are no frame: count, drop, go on
    ├── TransportError
    │   └── LinkError               the board does not answer now: the bridge goes on trying
    │       ├── PortMissingError        no such port: unplugged
    │       ├── PortBusyError           another program holds the port
    │       ├── SilentBoardError        not one byte comes
    │       ├── BaudRateError           bytes come, and none of them are frames
    │       ├── NoHelloError            frames come, and the board does not say what it measures
    │       └── BridgeMissingError      (agent's side) no bridge listens at the socket
    └── ConfigurationError
        ├── PortPermissionError     this user may not open the port
        └── ProtocolVersionError    the board speaks another version of the protocol

Every message names the port or board, and the remedy.
"""

from learnae.errors import ConfigurationError, PeerError, TransportError


class RecordError(PeerError):
    """What came over the bridge's socket is no record."""


class SenmlError(PeerError):
    """A SenML pack that breaks RFC 8428."""


class SerialFrameError(PeerError):
    """Bytes of the serial line are no frame: count, drop, go on."""


class LinkError(TransportError):
    """The board, or the bridge, does not answer now: go on trying."""


class PortMissingError(LinkError):
    """There is no such serial port now: the board is unplugged."""


class PortBusyError(LinkError):
    """Another program holds the serial port."""


class SilentBoardError(LinkError):
    """Not one byte comes from the board."""


class BaudRateError(LinkError):
    """Bytes come, and none of them are frames."""


class NoHelloError(LinkError):
    """Frames come, and the board does not say what it measures."""


class BridgeMissingError(LinkError):
    """No bridge listens at the agent's socket."""


class PortPermissionError(ConfigurationError):
    """This user may not open the serial port."""


class ProtocolVersionError(ConfigurationError):
    """The board speaks another version of the protocol."""
