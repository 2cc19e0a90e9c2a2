"""Invites from the page: signs one, and gives its code and picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.config.sections import LanSection, MqttSection
from learnae.errors import ConfigurationError, InUseError
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.policy import VOUCHED
from learnae.membership.records import INVITE_ROLES, MAX_USES
from learnae.runtime.admission.inviting import inviter, meeting_addresses, qr_modules
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import Swarm
from learnae.system.installation import is_installed

_MOST_HOURS = 7 * 24


class Inviting:
    """Signs invites in the name of a member of this machine, one at a time; called on the server's threads."""

    def __init__(self, swarm: Swarm, mqtt: MqttSection, lan: LanSection) -> None:
        self._swarm = swarm
        self._mqtt = mqtt
        self._lan = lan
        self._lock = threading.Lock()

    @staticmethod
    def is_possible(swarm: Swarm) -> bool:
        """Return True if members come in by invite."""
        membership = swarm.manifest.membership
        return membership is not None and membership.kind != VOUCHED

    def __call__(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Make an invite for ``uses`` joins within so many ``hours``, as ``role``; raises LearnaeError."""
        uses, hours, role = wish.get("uses", 1), wish.get("hours", 24), wish.get("role", INVITE_ROLES[0])
        if type(uses) is not int or not 1 <= uses <= MAX_USES:
            raise ConfigurationError(f"uses is {uses!r:.40}", f"use a number from 1 to {MAX_USES}")
        if type(hours) is not int or not 1 <= hours <= _MOST_HOURS:
            raise ConfigurationError(f"hours is {hours!r:.40}", f"use a number from 1 to {_MOST_HOURS}")
        if role not in INVITE_ROLES:
            raise ConfigurationError(f"role is {role!r:.40}", f"use one of {', '.join(INVITE_ROLES)}")
        if not self._lock.acquire(blocking=False):
            raise InUseError("an invite is being made", "wait for that one")
        try:
            return self._invite(uses, hours, role)
        finally:
            self._lock.release()

    def _invite(self, uses: int, hours: int, role: str) -> dict[str, Any]:
        manifest, store = self._swarm.manifest, LocalBlockStore(self._swarm.directory)
        try:
            registrar = Registrar(self._swarm.directory, manifest, store)
            addresses = meeting_addresses(manifest.swarm, self._mqtt, lambda: self._lan, False, lambda: None)
            expires = int(time.time() * 1000) + hours * 3_600_000
            record, seed = registrar.invite(inviter(registrar), uses, expires, role)
            registrar.announce()
        finally:
            store.close()
        code = InviteCode(manifest.swarm, seed, tuple(addresses), None).to_text()
        picture = None
        if is_installed("segno"):
            with suppress(ValueError):  # too long for a picture
                picture = ["".join("01"[dark] for dark in row) for row in qr_modules(code)]
        return {
            "code": code,
            "invite": str(record.cid)[-8:],
            "expires": expires,
            "uses": uses,
            "role": role,
            "addresses": addresses,
            "picture": picture,
        }
