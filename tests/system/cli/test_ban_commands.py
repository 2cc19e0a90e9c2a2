"""Bans as a user meets them: two real trainers, of whom one is left out, let in again, and un-merged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from programs import Child, Programs, assert_refused, wait_for

from learnae.adapters.local.bans import Bans
from learnae.peer.state import PeerState
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.observer import published_estimate
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

MANIFEST = Manifest("small", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy")
CONFIGURATION = 78


class Pair:
    def __init__(self, root: Path) -> None:
        self.programs = Programs(root)
        self.swarm = self.programs.add_swarm(MANIFEST)

    def start(self, name: str) -> Child:
        rows = np.random.default_rng(len(name)).normal(size=(200, 2))
        data = self.programs.root / f"{name}.npz"
        np.savez(data, x=rows, y=(rows.sum(axis=1) > 0).astype(int))
        environment = {"LEARNAE_TRAIN__SHARE": "0.05"}
        arguments = "trainer_node", "start", "--name", name, "--data", str(data)
        return self.programs.start(*arguments, environment=environment, pause=0.2)

    def wait_for(self, process: Child, what: str, **wanted: Any) -> None:
        def reached() -> bool:
            assert process.poll() is None, process.log
            status = self.programs.status("pump")
            return all(status.get(name) == value for name, value in wanted.items())

        wait_for(reached, what, 60)

    def held(self) -> frozenset[bytes]:
        return PeerState.read(self.programs.home / "peers" / "pump" / "state").held

    def author(self, name: str) -> bytes:
        return Identity.load(self.programs.home / "peers" / name / "key.pem").author


def test_a_peer_is_banned_let_in_again_and_unmerged_while_the_other_runs(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    with (programs := pair.programs):
        process = pair.start("pump")
        programs.wait_for_steps("pump", process, more_than=26)
        process.stop()  # it keeps a version
        process = pair.start("pump")
        pair.start("fan")
        pair.wait_for(process, "fan to be followed", following=1)
        fan = pair.author("fan")
        wait_for(lambda: fan in pair.held(), "fan to be merged", 60)

        assert programs.answer("learnae", "ban", "fan", "--why", "a broken sensor")["banned"]
        pair.wait_for(process, "fan to be left out", following=0)
        (seen,) = (view for view in programs.answer("learnae", "peers") if view["name"] == "fan")
        assert (seen["ban"]["why"], seen["banned"]) == ("a broken sensor", False)
        assert "is banned here: a broken sensor" in " ".join(programs.run("learnae", "peers").stdout.split())
        assert not programs.answer("learnae", "unban", "fan")["banned"]
        pair.wait_for(process, "fan to be followed again", following=1)
        assert_refused(programs.run("learnae", "unban", "fan"), CONFIGURATION, "not banned", "learnae peers")
        assert_refused(programs.run("learnae", "ban", "nobody"), CONFIGURATION, "no such peer", "fan")

        said = programs.answer("learnae", "unmerge", "fan")["unmerge"]
        assert said.keys() == {"pump"}
        version = said["pump"].split()[1]
        assert version in ("best", "v1")
        wait_for(lambda: (programs.status("pump").get("unmerged") or {}).get("version") == version, "the un-merge", 60)
        assert fan not in pair.held()
        process.kill()
        process.wait()
        process = pair.start("pump")
        programs.wait_for_steps("pump", process, more_than=programs.status("pump")["steps"])
        assert programs.status("pump")["following"] == 0
        assert fan not in pair.held()
        process.stop()
        without = published_estimate(pair.swarm)
        Bans(pair.swarm).lift(fan)
        assert not np.array_equal(published_estimate(pair.swarm).vector, without.vector), "an export leaves it out, too"
        status = programs.home / "peers" / "pump" / "status.json"
        status.write_text(json.dumps({**programs.status("pump"), "muted": {peer_name(fan): "suspect: does harm"}}))
        (seen,) = (view for view in programs.answer("learnae", "peers") if view["name"] == "fan")
        assert seen["muted"] == {"pump": "suspect: does harm"}
        said = " ".join(programs.run("learnae", "peers").stdout.split())
        assert f"pump does not merge fan#{peer_name(fan)[:8]} now: suspect: does harm" in said
