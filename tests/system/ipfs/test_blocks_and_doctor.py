"""``learnae blocks`` and what ``learnae doctor`` says of IPFS, with and without a daemon."""

import dataclasses
import gc
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from block_rows import age, spoil
from daemon import free_port
from hostile_http import hostile_server, says
from kubo import Kubo
from programs import Programs, assert_refused, wait_for

from demo.people import write_private_file
from learnae.adapters.local.block_database import FILE
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.peer.state import PeerState
from learnae.protocol.limits import Limits
from learnae.swarm.presets import preset
from learnae.system.paths import STATE_FILE
from learnae.system.service import EXIT_CONFIGURATION, EXIT_TRY_AGAIN
from learnae.text import counted
from learnae.weights.merge import MergePolicy


class Home:
    """A home with a swarm in which one trainer has trained for a moment."""

    def __init__(self, programs: Programs, **limits: int) -> None:
        self.programs = programs
        merge = MergePolicy(half_life=Limits(**limits).horizon // 10)
        manifest = dataclasses.replace(preset("wrist", 1), limits=Limits(**limits), merge=merge)
        self.directory = programs.add_swarm(manifest)
        self.store = LocalBlockStore(self.directory)
        data = programs.root / "person.npz"
        write_private_file(1, data)
        trainer = programs.start("trainer_node", "start", "--data", data)
        wait_for(lambda: (programs.status("trainer").get("seq") or 0) >= 3, "the trainer to publish")
        trainer.stop()

    def blocks(self, *arguments: str, **environment: str):
        done = self.programs.run("learnae", "blocks", *arguments, environment=environment)
        assert not done.stderr, done.stderr
        return done


pytestmark = pytest.mark.slow


@pytest.fixture
def here(programs: Programs) -> Home:
    return Home(programs)


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    with Kubo(tmp_path_factory.mktemp("kubo") / "repository") as found:
        yield found


def test_blocks_are_listed_checked_and_cleaned_up(here: Home, programs: Programs) -> None:
    listed = programs.answer("learnae", "blocks", "--list")
    said = programs.answer("learnae", "log")
    assert {block["pinned"] for block in listed} == {None}
    whats = {block["cid"]: block["what"] for block in listed}
    assert [whats[message["cid"]] for message in said] == [f"message {message['seq']} of trainer" for message in said]
    replaced = sum(what.startswith("replaced since: ") for what in whats.values())
    assert replaced, "its frames and messages go a grace after the checkpoint"
    assert whats[said[0]["blocks"][0]] == f"weights of trainer, {said[0]['seq']}"
    counted_by_it = programs.answer("learnae", "blocks")
    assert counted_by_it["blocks"] == len(listed) == sum(counted_by_it["kinds"].values())
    assert counted_by_it["bytes"] == sum(block["bytes"] for block in listed)
    assert counted_by_it["kinds"]["messages"] == len(said)
    assert re.search(rf"^messages +{len(said)}$", here.blocks().stdout, re.MULTILINE)
    shown = here.blocks("--list").stdout
    assert f"message {said[0]['seq']} of trainer" in shown
    assert f", {counted(len(said), 'message')}" in shown
    assert f", {replaced} replaced by " in shown  # a checkpoint, or checkpoints

    # a damaged block is found, and removed so that a good copy can take its place
    victim = said[0]["blocks"][0]
    spoil(here.directory, Cid.parse(victim), b"rot")
    done = here.blocks("--fsck")
    assert done.returncode == 1
    assert victim in done.stdout
    assert programs.answer("learnae", "blocks", "--fsck") == {"checked": len(listed) - 1, "damaged": []}

    # nobody needs these; the younger one may belong to a message that is on its way
    old, young = here.store.put(RAW, b"old"), here.store.put(RAW, b"young")
    age(here.directory, old)
    assert programs.answer("learnae", "blocks", "--gc") == {"deleted": 1, "bytes freed": 3}
    assert not here.store.has(old)
    assert here.store.has(young)
    assert len(programs.answer("learnae", "blocks", "--list")) == len(listed)

    assert_refused(programs.run("learnae", "blocks", "--pin"), EXIT_CONFIGURATION, "set ipfs.api")

    # a database that SQLite cannot read is named, and replaced once no process has it open
    names = set(here.store.cids())
    here.store.close()
    with (here.directory / FILE).open("r+b") as file:
        file.seek(4096 * 3)  # after the header, the map of pages and the root of the table
        file.write(b"rot" * 1000)
    assert "--fsck" in programs.run("learnae", "blocks").stderr
    opened = LocalBlockStore(here.directory)
    assert_refused(programs.run("learnae", "blocks", "--fsck"), EXIT_TRY_AGAIN, "stop the peers")
    opened.close()
    gc.collect()  # the commands above ran in this process, and what they had open is closed with their last reference
    done = here.blocks("--fsck", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["checked"] > len(names) / 2
    assert programs.answer("learnae", "blocks", "--fsck") == {"checked": found["checked"], "damaged": []}
    assert set(here.store.cids()) <= names


def test_a_swarm_that_has_fallen_silent_keeps_its_last_checkpoint_and_nothing_older(programs: Programs) -> None:
    home = Home(programs, horizon=1000, skew=200)
    last = PeerState.from_bytes((programs.home / "peers" / "trainer" / STATE_FILE).read_bytes()).message
    time.sleep(1.1)  # longer than the horizon
    live = [[message["cid"], *message["blocks"]] for message in programs.answer("learnae", "log")]
    assert live[0][0] == str(Cid.of(DAG_CBOR, last))
    age(home.directory)
    assert programs.answer("learnae", "blocks", "--gc")["deleted"] > 0
    assert set(map(str, home.store.cids())) == {cid for cids in live for cid in cids}
    assert programs.answer("learnae", "export", programs.root / "last.safetensors")["parameters"] == 4295


@pytest.mark.engine("ipfs")
@pytest.mark.modules("ipfshttpclient")
def test_the_daemon_is_given_all_blocks_and_the_doctor_sees_it(here: Home, kubo: Kubo) -> None:
    environment = {"LEARNAE_IPFS__API": kubo.api}
    count = len(list(here.store.cids()))
    found = diagnosis(here.programs, **environment)
    assert found["Kubo"] == ("ok", f"{kubo.run('version', '-n').decode().strip()} at {kubo.api}")
    assert found["Kubo peers"] == ("missing", "0 connected")
    assert found["Kubo network"] == ("ok", "private: swarm.key is in its repository")
    assert found["Kubo pubsub"] == ("ok", "on, 0 topics of Learnae subscribed")
    assert found["Kubo pins"] == ("missing", f"0 of the {count} blocks that are here")

    assert here.blocks("--pin", "--json", **environment).returncode == 0
    assert set(kubo.pins()) == {str(cid) for cid in here.store.cids()}
    pins = diagnosis(here.programs, **environment)["Kubo pins"]
    assert pins == ("ok", f"{count} of the {count} blocks that are here")
    assert "no" not in here.blocks(**environment).stdout.split()

    gone = next(cid for cid in here.store.cids() if cid.codec == RAW)  # weights: messages must not be missing
    here.store.delete([gone])
    here.blocks("--gc", **environment)
    assert str(gone) not in kubo.pins()


@pytest.mark.modules("ipfshttpclient")
def test_the_doctor_names_what_is_wrong_and_the_remedy(programs: Programs) -> None:
    nobody = f"/ip4/127.0.0.1/tcp/{free_port()}"
    with hostile_server(says(b"", 403)) as server:
        broken = {"LEARNAE_IPFS__API": nobody, "LEARNAE_IPFS__GATEWAYS": server.url}
        found = diagnosis(programs, **broken)
        assert found["Kubo"] == ("broken", f"Kubo at {nobody} cannot be reached")
        assert found[f"gateway {server.url}"][0] == "broken"
        done = programs.run("learnae", "doctor", environment=broken)
        assert done.returncode == 1
        assert "start it: ipfs daemon" in done.stdout
        server.answer = says(b"[]")
        assert diagnosis(programs, LEARNAE_IPFS__API=server.api)["Kubo"][0] == "broken"
        server.answer = says(b"")
        assert diagnosis(programs, LEARNAE_IPFS__GATEWAYS=server.url)[f"gateway {server.url}"] == ("ok", "answers")
    assert diagnosis(programs, LEARNAE_IPFS__API="5001")["IPFS"][0] == "broken"
    assert not [thing for thing in diagnosis(programs) if thing.startswith(("Kubo", "IPFS", "gateway"))]


@pytest.mark.engine("ipfs")
@pytest.mark.modules("ipfshttpclient")
def test_the_doctor_sees_a_public_daemon_without_pubsub(programs: Programs, tmp_path: Path) -> None:
    kubo = Kubo(tmp_path / "kubo", pubsub=False)
    (kubo.directory / "swarm.key").unlink()
    kubo.needs_key = False
    with kubo:
        environment = {"LEARNAE_IPFS__API": kubo.api, "LEARNAE_IPFS__CONNECT": kubo.address}
        found = diagnosis(programs, **environment)
    assert found["Kubo network"][0] == "missing"
    assert found["Kubo network"][1].startswith("public")
    assert found["Kubo pubsub"] == ("missing", "off")
    assert found["Kubo peers"] == ("missing", f"0 connected; not {kubo.address}")


@pytest.mark.engine("ipfs")
@pytest.mark.modules("ipfshttpclient")
def test_the_doctor_says_what_a_daemon_does_not_let_it_do(programs: Programs, tmp_path: Path) -> None:
    paths = [f"/api/v0/{command}" for command in ("version", "swarm", "repo")]
    allowed = {"learnae": {"AuthSecret": "bearer:sesame", "AllowedPaths": paths}}
    (tmp_path / "token").write_text("bearer:sesame\n")
    with Kubo(tmp_path / "kubo", settings={"API.Authorizations": allowed}) as kubo:
        environment = {"LEARNAE_IPFS__API": kubo.api, "LEARNAE_IPFS__TOKEN_FILE": str(tmp_path / "token")}
        done = programs.run("learnae", "doctor", "--json", environment=environment)
    (row,) = [finding for finding in json.loads(done.stdout) if finding["thing"] == "Kubo pubsub"]
    assert (row["state"], row["detail"]) == ("broken", f"Kubo at {kubo.api} does not let us in")
    assert "/api/v0/pubsub/ls" in row["remedy"]
    assert "ipfs.pubsub = false" in row["remedy"]


def diagnosis(programs: Programs, **environment: str) -> dict[str, tuple[str, str]]:
    done = programs.run("learnae", "doctor", "--json", environment=environment)
    assert not done.stderr, done.stderr
    return {finding["thing"]: (finding["state"], finding["detail"]) for finding in json.loads(done.stdout)}
