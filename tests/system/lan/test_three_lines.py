"""Two machines of one network and the three lines of docs/lan.md: both learn from each other, and what others hear."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from networks import Machine, Network
from programs import Child, Finished, Programs, assert_refused, wait_for
from sealed_swarm import WORDS
from wiretap import Wiretap

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.records import is_record
from learnae.membership.sealing import open_sealed
from learnae.protocol.bodies import Sealed
from learnae.protocol.limits import Limits
from learnae.protocol.messages import open_message
from learnae.runtime.admission.viewing import view_of
from learnae.swarm.directory import open_manifest
from learnae.swarm.presets import dense_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("ip"),
    pytest.mark.modules("spake2"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]

COLUMNS = "plantedflow,plantedheat"
MODEL = "--model m.json --loss sparse_categorical_crossentropy --classes plantedlow,plantedhigh --name plantedswarm"


# the lines of the page, with this test's model and table in place of the preset and its recordings
PAGE = (Path(__file__).parents[3] / "docs" / "lan.md").read_text()
CREATE, INVITE, JOIN = re.findall(r"^learnae (.*)$", "".join(re.findall("```sh\n(.*?)```", PAGE, re.DOTALL)[:2]), re.M)
CREATE = re.sub("--preset wrist --data [a-z]+.npz", f"{MODEL} --columns {COLUMNS} --data a.csv", CREATE)


class Desk:
    """One machine, and who types there."""

    def __init__(self, root: Path, machine: Machine) -> None:
        root.mkdir()
        self.programs, self.machine = Programs(root), machine
        rng = random.Random(root.name)
        rows = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(80)]
        lines = [f"{x},{y},{'plantedhigh' if x + y > 0 else 'plantedlow'}" for x, y in rows]
        (root / "a.csv").write_text("\n".join([f"{COLUMNS},label", *lines, ""]))
        (root / "m.json").write_text(json.dumps(dense_config(2, (4,), 2, "softmax")))

    def type(self, line: str) -> Finished:
        with self.machine:
            return self.programs.run("learnae", *line.split())

    def begin(self, line: str) -> Child:
        with self.machine:
            return self.programs.start("learnae", *line.split())

    @property
    def swarm(self) -> Path:
        return next((self.programs.home / "swarms").iterdir())

    def merges(self, peer: str) -> list[dict[str, Any]]:
        """The updates of its peer that others' have gone into."""
        said = self.programs.answer("learnae", "log", "-n", "1000")
        return [each for each in said if each["author"] == peer and each["body"].get("merged")]

    def status(self, name: str = "trainer") -> dict[str, Any]:
        return self.programs.status(name)

    def stop(self) -> None:
        self.programs.run("trainer_node", "stop")
        self.programs.__exit__()


@pytest.fixture
def desks(tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    with Network() as network:
        both = Desk(tmp_path / "ann", network.machine(0)), Desk(tmp_path / "bob", network.machine(0))
        yield both
        for desk in both:
            desk.stop()


def test_three_lines_make_two_machines_learn_and_others_hear_nothing(desks: tuple[Desk, Desk]) -> None:
    ann, bob = desks
    begun = time.monotonic()
    with Wiretap(ann.machine) as tap:
        made = ann.type(CREATE)
        assert made.returncode == 0, made.stderr
        offer = ann.begin(INVITE)
        words = offer.line().strip()
        joined = bob.type(
            re.sub("[0-9]+-[a-z]+-[a-z]+ --data [a-z]+.npz", f"{words} --data a.csv --name plantedbob", JOIN)
        )
        assert joined.returncode == 0, joined.stderr
        assert "standing       member" in joined.stdout
        assert offer.wait(60) == 0, offer.log
        assert "is a member" in offer.communicate()[0]
        names = {ann: ann.status()["peer"], bob: wait_for(lambda: bob.status("plantedbob").get("peer"), "bob")}
        wait_for(lambda: bob.merges(names[bob]), "bob to merge", 90)
        print(f"{time.monotonic() - begun:.1f} s")
        wait_for(lambda: ann.merges(names[ann]), "ann to merge", 90)
        wait_for(lambda: bob.status("plantedbob")["connections"].get("beacon") == "connected", "the beacon")
        assert bob.status("plantedbob")["problems"] == {}

        ann.machine.ip("addr", "del", "10.77.0.1/24", "dev", "eth0")  # the machine gets another address
        ann.machine.ip("addr", "add", "10.77.0.99/24", "dev", "eth0")
        link = "member 10.77.0.1:8733 gossip"
        wait_for(
            lambda: bob.status("plantedbob")["connections"][link].startswith("connected at "),
            "bob to find ann where she is now", 120,
        )  # fmt: skip
        before = bob.status("plantedbob")["seq"]  # not how many there are: those before a checkpoint are forgotten
        wait_for(lambda: any(each["seq"] > before for each in bob.merges(names[bob])), "bob to merge again", 90)
    with bob.machine, closing(HTTPConnection("10.77.0.99", 8733, timeout=60)) as stranger:
        stranger.request("GET", f"/ipfs/{open_manifest(ann.swarm).swarm}?format=raw")
        assert stranger.getresponse().status == 404
    _assert_private(ann.swarm, tap.heard(), words)


def test_an_offer_that_ends_leaves_no_invite_behind(desks: tuple[Desk, Desk]) -> None:
    ann, bob = desks
    ann.type(f"swarm create {MODEL} --columns {COLUMNS} --membership invite")
    ann.type("join --data a.csv")
    assert_refused(ann.type("invite --spoken"), 78, "no peer of this machine serves", 'serve = "auto"', "--lan")
    where = "--address http://10.77.0.1:8733"
    offer = ann.begin(f"invite --spoken {where}")
    number, *words = offer.line().strip().split("-")
    wrong = f"{number}-{words[0]}-{'zebra' if words[1] != 'zebra' else 'zigzag'}"
    for left in ("2 of 3", "1 of 3", "3 wrong tries"):
        assert_refused(bob.type(f"join {wrong} --data a.csv"), 78, left)
    assert offer.wait(60) == 78
    assert "3 wrong tries" in offer.log
    offer = ann.begin(f"invite --spoken {where}")
    offer.line()
    offer.send_signal(signal.SIGINT)
    assert offer.wait(60) != 0
    assert ann.programs.answer("learnae", "members")["invites"] == []
    assert not list(bob.programs.home.glob("swarms/*"))


def _assert_private(directory: Path, heard: bytes, words: str) -> None:
    manifest = open_manifest(directory)
    view = view_of(directory)
    assert view is not None
    assert view.meeting.encode() in heard, "the tap has heard nothing"
    assert b"planted" not in heard
    assert words.encode() not in heard
    assert manifest.to_bytes()[:64] not in heard
    assert str(manifest.swarm).encode() not in heard  # records hold its digest, with which no one gets it: see above
    assert not [word for word in WORDS if word in heard]
    opened, crossed = [manifest.to_bytes()], set()
    with closing(LocalBlockStore(directory, read_only=True)) as store:
        said = [store.get(cid) for cid in store.cids() if cid.codec == DAG_CBOR and cid != manifest.swarm]
        for data in (data for data in said if not is_record(data)):
            message = open_message(data, manifest.swarm, Limits())
            assert isinstance(message.body, Sealed)
            if data in heard:
                crossed.add(message.author)
            parts = [
                (0, message.body.data),
                *((1 + i, store.get(cid)) for i, cid in enumerate(message.blocks) if store.has(cid)),
            ]
            for index, sealed in parts:
                inner = bytes(open_sealed(view, message.author, message.seq, index, sealed))
                assert inner[:24] not in heard
                opened.append(inner)
    assert len(opened) > 4
    assert all(word in b"".join(opened) for word in WORDS), "the search itself must be able to find them"
    assert len(crossed) == 2, "each has merged what the other said: the tap would see it in the clear"
