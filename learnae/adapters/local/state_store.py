"""ports.StateStore: one file, replaced whole."""

from pathlib import Path

from learnae.basics.overriding import override
from learnae.errors import StateError
from learnae.ports import StateStore
from learnae.system.atomic_files import tidy, write_atomic


class LocalStateStore(StateStore):
    """Keeps a peer's state in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        tidy(path.parent)

    @override
    def load(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {self._path}: {error}", "check its owner and permissions") from error

    @override
    def save(self, data: bytes) -> None:
        write_atomic(self._path, data, mode=0o600)
