"""A newcomer to a swarm whose machines share only a real Mosquitto: how soon it takes part."""

import tempfile
import time
from pathlib import Path

from bench.harness import AT_MOST, Race
from bench.mqtt import Member
from bench.rigs.processes import broker, rig, wait_until
from learnae.config.sections import MqttSection
from learnae.swarm.presets import preset

_READY_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_JOIN_SECONDS = 15.0


def run(race: Race) -> None:
    """Let agents exchange what they learn for a while; then one more comes."""
    agents, seconds = (1, 2.0) if race.quick else (7, 60.0)
    if not rig("mosquitto").is_here():
        race.note("no newcomer over MQTT: there is no Mosquitto here")
        return
    with tempfile.TemporaryDirectory() as name, broker(Path(name) / "broker") as mosquitto:
        section = MqttSection(broker=f"mqtt://127.0.0.1:{mosquitto.port}")
        manifest = preset("wrist", time.time_ns() // 1_000_000)
        members = [Member(Path(name) / str(n), n + 1, manifest, section, every=0.0) for n in range(agents + 1)]
        *others, newcomer = members
        started = []
        try:
            with race.step(f"{agents} agents at a broker, and one more"):
                for member in others:
                    member.start()
                    started.append(member)
                wait_until(lambda: all(map(_is_member, others)), _READY_SECONDS, "all to publish", _LOOK_SECONDS)
                time.sleep(seconds)
                begun = time.monotonic()
                newcomer.start()
                started.append(newcomer)
                wait_until(lambda: _is_member(newcomer), _READY_SECONDS, "a newcomer", _LOOK_SECONDS)
                taken = time.monotonic() - begun
        finally:
            for member in started:
                member.stop()
    note = f"among {agents} agents after {seconds:.0f} s, each on a machine of its own, settings as by default"
    race.check("a newcomer over MQTT has caught up and publishes", taken, _JOIN_SECONDS, AT_MOST, "s", note)


def _is_member(member: Member) -> bool:
    status = member.status()
    return bool(status) and status["listening"] is None and (status["seq"] or 0) >= 1
