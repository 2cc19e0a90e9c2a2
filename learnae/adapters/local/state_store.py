"""ports.StateStore: one file, replaced whole."""

from pathlib import Path

from learnae.basics.overriding import override
from learnae.errors import StateError
from learnae.ports import StateStore
from learnae.system.atomic_files import tidy, wait_for, write_atomic


class LocalStateStore(StateStore):
    """Keeps a peer's state in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        tidy(path.parent)

    @override
    def load(self) -> bytes | None:
        """Read the state, and wait until it is on the disk: a process may have been killed before it had waited.

        What follows from it is shown to others, and must not be forgotten by a power cut. Raises NotWrittenError, too.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {self._path}: {error}", "check its owner and permissions") from error
        wait_for(self._path)
        return data

    @override
    def save(self, *pieces: bytes | memoryview) -> None:
        write_atomic(self._path, *pieces, mode=0o600)
