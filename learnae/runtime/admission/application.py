"""The code by which a peer asks to be let in: kept in its directory, its owner's alone, until it is a member.

A service is given it as a credential, ``invite-code``, and keeps it at its first start; the unit then deletes that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from learnae.config.sections import LanSection, MqttSection
from learnae.errors import ConfigurationError, StateError
from learnae.runtime.peer_service import Worker
from learnae.system.atomic_files import write_atomic, writing
from learnae.system.credentials import credential_path, is_handed_over, read_credential
from learnae.system.private_files import make_private, read_private

if TYPE_CHECKING:
    from learnae.membership.codes.invite_code import InviteCode

APPLICATION_FILE = "invite-code"
_MAX_BYTES = 4096


def keep_application(directory: Path, code: InviteCode) -> None:
    """Keep the code in the peer's directory; raises NotWrittenError."""
    write_atomic(directory / APPLICATION_FILE, code.to_text().encode() + b"\n", mode=0o600)


def take_handed_over(directory: Path) -> None:
    """Keep the code that systemd has handed over, if there is one. Raises ConfigurationError or NotWrittenError."""
    if not is_handed_over(APPLICATION_FILE):
        return
    from learnae.membership.codes.invite_code import parse  # noqa: PLC0415 - members have no use for it

    path = credential_path(APPLICATION_FILE)
    try:
        code = parse(read_credential(APPLICATION_FILE, "the invite code"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.problem}", error.remedy) from error
    with writing(directory):
        make_private(directory)
    keep_application(directory, code)


def find_application(directory: Path) -> InviteCode | None:
    """Return the code by which the peer of ``directory`` asks to be let in; None if it does not. Raises StateError."""
    path = directory / APPLICATION_FILE
    try:
        text = read_private(path, _MAX_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):  # the workspace says what is wrong with a directory
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "check its owner") from error
    from learnae.membership.codes.invite_code import parse  # noqa: PLC0415 - members have no use for it

    try:
        return parse(text)
    except ConfigurationError as error:
        raise StateError(f"{path}: {error.problem}", "join again, with the code") from error


def forget_application(directory: Path) -> None:
    """Remove the code: the peer is in. Idempotent; raises NotWrittenError."""
    with writing(path := directory / APPLICATION_FILE), suppress(FileNotFoundError):
        path.unlink()


def once_in(directory: Path, role: str, mqtt: MqttSection, lan: LanSection, build: Callable[[], Worker]) -> Worker:
    """Return what ``build`` makes; where a peer still asks to be let in, once it is. Raises as ``build`` does."""
    take_handed_over(directory)
    code = find_application(directory)
    if code is None:
        return build()
    from learnae.runtime.admission.joining import JoiningService  # noqa: PLC0415 - members have no use for it

    return JoiningService(directory, role, mqtt, lan, code, build)
