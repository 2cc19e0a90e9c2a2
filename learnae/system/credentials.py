"""Read secrets from files only: named in the configuration, or handed over by systemd (LoadCredential=)."""

import os
from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.system.atomic_files import read_regular

_MOST_BYTES = 64 * 1024
_PREFIX = "learnae_"  # systemd puts it before file names where a unit loads a whole directory as ``learnae``


def credential_path(name: str) -> Path:
    """Return where the file ``name`` is: a relative one is looked for in ``$CREDENTIALS_DIRECTORY`` first."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory and not Path(name).is_absolute():
        for path in (Path(directory) / name, Path(directory) / f"{_PREFIX}{name}"):
            if path.exists():
                return path
    return Path(os.path.expanduser(name))  # that of a user who is not there stays as it is


def read_secret(name: str, key: str) -> bytes:
    """Return the bytes of a credential file; raises ConfigurationError that names ``key``."""
    path = credential_path(name)
    try:
        return read_regular(path, _MOST_BYTES)
    except OSError as error:
        problem = f"{key}: cannot read {path}: {error.strerror}"
        raise ConfigurationError(problem, "check path and permissions") from error


def read_credential(name: str, key: str) -> str:
    """Return the text of a credential file without the line's end; raises ConfigurationError that names ``key``."""
    path, data = credential_path(name), read_secret(name, key)
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{key}: {path} is not text", "it must hold one line of UTF-8") from error
    if not text or len(data) > _MOST_BYTES:
        raise ConfigurationError(f"{key}: {path} holds {len(data)} bytes", "it must hold one line")
    return text
