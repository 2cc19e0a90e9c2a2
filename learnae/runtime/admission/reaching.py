"""How members are reached who may let a peer in, from an invite code and from what its owner has said."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from learnae.config.sections import LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.membership.codes.invite_code import InviteCode
from learnae.system.atomic_files import write_atomic

_PASSWORD_FILE = "broker-password"  # noqa: S105 - the name of a file
_BROKERS = ("mqtt://", "mqtts://", "ws://", "wss://")


def links_of(
    code: InviteCode, asked: MqttSection, addresses: Sequence[str], directory: Path
) -> tuple[MqttSection, LanSection]:
    """Return how members are reached, as far as it is known: over the code's broker, or else where they serve.

    What is ``asked`` for goes before the code; ``addresses`` are members', too. A broker's password is kept in
    ``directory``. Raises ConfigurationError.
    """
    broker = asked.broker or next((address for address in code.addresses if address.startswith(_BROKERS)), "")
    members = [address if urlsplit(address).port else f"{address}:80" for address in code.addresses
               if address.startswith("http://")] + [*addresses]  # fmt: skip
    if not broker and members:
        return MqttSection(), LanSection(peers=" ".join(members))
    if not broker:
        there_are = ", ".join(code.addresses) or "none"
        raise ConfigurationError(
            f"the code names no broker and no member that serves (its addresses: {there_are})",
            "ask for one with: learnae invite --address mqtts://HOST, or http://HOST:PORT",
        )
    user, password = asked.user, asked.password_file
    if code.password and not user:
        user, password = code.password[0], keep_password(directory, code.password[1])
    elif not password and user and (directory / _PASSWORD_FILE).exists():
        password = str(directory / _PASSWORD_FILE)
    return replace(asked, broker=broker, user=user, password_file=password), LanSection()


def keep_password(directory: Path, password: str) -> str:
    """Keep a broker's password for its peer in ``directory``, for its owner alone; return the file's path."""
    path = directory / _PASSWORD_FILE
    write_atomic(path, password.encode() + b"\n", mode=0o600)
    return str(path)
