"""A peer that has an invite code and is no member yet, as a service: it asks until it is let in, then it works."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learnae.adapters.http.certificate import key_of
from learnae.adapters.http.invites.invite_caller import HttpInviteCaller
from learnae.adapters.http.member import make_client
from learnae.adapters.local.lock import Lock
from learnae.adapters.local.status_file import StatusFile
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.invites.invite_caller import MqttInviteCaller
from learnae.basics.overriding import override
from learnae.config.sections import LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.membership.codes.invite_code import InviteCode
from learnae.protocol.identity import Identity
from learnae.runtime.admission.applicant import Applicant
from learnae.runtime.admission.application import forget_application
from learnae.runtime.peer_service import Worker
from learnae.system.atomic_files import writing
from learnae.system.paths import KEY_FILE, LOCK_FILE, STATUS_FILE
from learnae.system.private_files import make_private
from learnae.system.service import Work

_log = logging.getLogger(__name__)

_TURN_SECONDS = 0.25


class Call:
    """Asks for a swarm over a broker, or else at members that serve; close it when it is over.

    Raises ConfigurationError if neither is configured.
    """

    def __init__(self, mqtt: MqttSection, lan: LanSection, code: InviteCode, identity: Identity, role: str) -> None:
        self._connection: MqttConnection | None = None
        self.reached: Callable[[], list[str]] = list  # addresses of lan.peers at which members have answered
        caller: MqttInviteCaller | HttpInviteCaller
        if mqtt.broker:
            self._connection = MqttConnection(mqtt)
            self.state = self._connection.state
            caller = MqttInviteCaller(self._connection, mqtt.prefix, code.seed)
            self._connection.start()
        elif lan.addresses():
            clients = {
                url: make_client(each.host, each.port, key_of(each.peer) if each.peer else None, each.tls)
                for url, each in zip(lan.peers.split(), lan.addresses(), strict=True)
            }
            caller = HttpInviteCaller(clients, code.seed)
            self.state, self.reached = caller.state, caller.reached
        else:
            raise ConfigurationError("there is no member to ask for the swarm", "set mqtt.broker or lan.peers")
        self._caller = caller
        self.applicant = Applicant(code, identity, role, caller)

    def close(self) -> None:
        """End the connection, and let go of the store. Idempotent."""
        self.applicant.close()
        self._caller.close()
        if self._connection is not None:
            self._connection.close()


class JoiningService(Worker):
    """Waits to be let in, then does what ``build`` returns. Raises ConfigurationError if the code is good no more."""

    def __init__(
        self,
        directory: Path,
        role: str,
        mqtt: MqttSection,
        lan: LanSection,
        code: InviteCode,
        build: Callable[[], Worker],
    ) -> None:
        with writing(directory):
            make_private(directory)
            self._lock = Lock(directory / LOCK_FILE)
        self._directory = directory
        self._role = role
        self._code = code
        self._build = build
        self._status = StatusFile(directory / STATUS_FILE)
        identity = Identity.load_or_create(directory / KEY_FILE)
        self._call: Call | None = Call(mqtt, lan, code, identity, role)
        self._work: Work | None = None
        self._said = ""

    @override
    def work(self) -> Work:
        return Work(self._step, self._drain, self._reload, self._summary)

    def _step(self) -> float:
        if self._work is not None:
            return self._work.step()
        assert self._call is not None
        self._call.applicant.turn()
        if self._said != (said := f"{self._summary()} ({self._call.state()})"):
            self._said = said
            _log.info(said)
            self._status.close(self._shown())  # writes now
        if not self._call.applicant.is_in:
            return _TURN_SECONDS
        self._leave()
        forget_application(self._directory)
        self._work = self._build().work()
        return 0.0

    def _shown(self) -> dict[str, Any]:
        assert self._call is not None
        return {
            "name": self._directory.name,
            "role": self._role,
            "swarm": str(self._code.swarm),
            "membership": self._summary(),
            "time": time.time_ns() // 1_000_000,
            "connections": {"invite": self._call.state()},
        }

    def _summary(self) -> str:
        if self._work is not None:
            return self._work.summary()
        return self._call.applicant.describe() if self._call else "a member"

    def _drain(self) -> None:
        if self._work is not None:
            self._work.drain()
        else:
            self._leave()

    def _reload(self) -> None:
        if self._work is not None:
            self._work.reload()

    def _leave(self) -> None:
        if self._call is not None:
            self._call.close()
            self._call = None
        self._lock.release()
