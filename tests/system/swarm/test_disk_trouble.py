"""A peer whose disk takes nothing: people see it wherever they look, and it goes on by itself when the disk does."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from disks import read_only
from messages_here import seqs_in
from mosquitto import Mosquitto
from programs import Programs, assert_refused, wait_for

from demo.people import write_private_file
from learnae.runtime.observer import Observer
from learnae.swarm.presets import preset
from learnae.system.service import EXIT_TRY_AGAIN

pytestmark = [pytest.mark.slow, pytest.mark.engine("mosquitto")]


class Systemd:
    """Hears what a service says of itself; ``status`` is the newest line."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.status = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        while said := self._socket.recv(4096).decode():
            self.status = said.partition("STATUS=")[2] or self.status

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with closing(Systemd(tmp_path / "notify")) as found:
        yield found


def test_people_see_it_and_it_ends_by_itself(
    tmp_path: Path, programs: Programs, broker: Mosquitto, systemd: Systemd
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    programs.home = disk / "home"
    swarm = programs.add_swarm(preset("wrist", 1))
    data = tmp_path / "person.npz"
    write_private_file(1, data)
    url = f"mqtt://127.0.0.1:{broker.port}"
    environment = {"LEARNAE_MQTT__BROKER": url, "NOTIFY_SOCKET": systemd.address}
    trainer = programs.start("trainer_node", "start", "--data", data, environment=environment)

    def seen_far_away() -> Any:
        (peer,) = programs.answer("learnae", "watch", "--broker", url, "--rounds", "1")
        return peer

    observer = Observer(swarm)
    programs.wait_for_steps("trainer", trainer)
    wait_for(lambda: observer.refresh() > 3, "messages")
    assert "disk" not in programs.answer("trainer_node", "status")
    with read_only(disk):
        wait_for(lambda: "nothing is published since" in systemd.status, "systemd to be told")
        wait_for(lambda: seen_far_away()["unwritable"], "people at the broker to see it")
        assert "cannot save" in programs.run("learnae", "watch", "--broker", url, "--rounds", "1").stdout
        said = programs.answer("trainer_node", "status")
        assert said["state"] == "running"
        assert "nothing can be saved or published" in said["disk"]
        found = json.loads(programs.run("learnae", "doctor", "--json").stdout)
        broken = {finding["thing"]: finding["detail"] for finding in found if finding["state"] == "broken"}
        assert "publishes nothing" in broken["peer trainer"]
        observer.refresh()
        count = len(observer.tangle)
        steps = seen_far_away()["steps"]
        wait_for(lambda: seen_far_away()["steps"] > steps, "it to train on")
        assert observer.refresh() == count
    wait_for(lambda: observer.refresh() > count + 3, "it to publish again")
    wait_for(lambda: "PUBLISHED" not in systemd.status, "systemd to be told")
    wait_for(lambda: not seen_far_away()["unwritable"], "people at the broker to see it")
    assert "disk" not in programs.answer("trainer_node", "status")
    log = trainer.stop()
    assert "Traceback" not in log, log
    assert log.count("publishing nothing until the disk takes it") == 1
    assert log.count("the disk takes it again") == 1
    seqs = seqs_in(swarm)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert json.loads((programs.home / "peers" / "trainer" / "status.json").read_text())["unwritable"] is None
    with read_only(disk):  # systemd tries it again
        refused = programs.run("trainer_node", "start", "--data", data, environment=environment)
        assert_refused(refused, EXIT_TRY_AGAIN, "free some space")
