"""Where a peer's page is, and the key of its tokens: a file in the peer's own directory, for its owner alone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from learnae.basics import strict_json
from learnae.dashboard.access import KEY_BYTES, mint_token
from learnae.errors import StateError
from learnae.system.atomic_files import write_atomic, writing
from learnae.system.private_files import read_private

FILE = "dashboard"
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PageAddress:
    """The address without a token, the ``key`` of tokens and cookies, the ``run`` that tokens are for, its process."""

    url: str
    key: bytes
    run: bytes
    process: int = field(default_factory=os.getpid)

    @classmethod
    def read(cls, directory: Path) -> PageAddress | None:
        """Read that of the peer in ``directory``; None if it has none. Raises StateError."""
        try:
            said = json.loads(read_private(directory / FILE, _MOST_BYTES))
            found = cls(str(said["url"]), bytes.fromhex(said["key"]), bytes.fromhex(said["run"]), said["process"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            problem = f"cannot read {directory / FILE}: {error.strerror}"
            raise StateError(problem, "run it as the user it belongs to, such as with sudo") from error
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return found if len(found.key) == KEY_BYTES else None

    @staticmethod
    def key_in(directory: Path) -> bytes:
        """Return the key of earlier runs, so that cookies outlive a restart; a new one where there is none."""
        try:
            found = PageAddress.read(directory)
        except StateError:
            found = None
        return found.key if found else secrets.token_bytes(KEY_BYTES)

    def write(self, directory: Path) -> None:
        """Keep it; raises NotWrittenError."""
        data = strict_json.dumps(
            {"url": self.url, "key": self.key.hex(), "run": self.run.hex(), "process": self.process}
        ).encode()
        with writing(directory):
            write_atomic(directory / FILE, data, mode=0o600, durable=False)

    def with_token(self) -> str:
        """Return the address with a token, which works once, and for ten minutes."""
        return f"{self.url}?t={mint_token(self.key, self.run)}"
