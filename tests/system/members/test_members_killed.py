"""``kill -9`` after each single write of what makes, enters and changes a swarm: said again, it is finished."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from children import END_SECONDS, PROCESSES
from programs import Programs

from learnae.adapters.http.certificate import key_of
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.membership.key_epochs import Keyring
from learnae.membership.records import REMOVE, Vote
from learnae.models.passive_learner import PassiveLearner
from learnae.peer.members import steward
from learnae.peer.peer import Options
from learnae.protocol.identity import Identity
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.registrar import Registrar
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import open_manifest, open_swarm
from learnae.system.paths import peer_directory

pytestmark = pytest.mark.slow

CREATE = ("swarm", "create", "--preset", "thermal", "--membership", "invite")
JOIN = ("join", "--name", "ann", "--config", "ann.toml")
MOST_WRITES = 30


def die_after(writes: int, environment: dict[str, str], root: Path) -> None:
    """Be the machine of ``root``, and end this process by ``kill -9`` once so many files and blocks were written."""
    left = writes

    def dying_after(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*given: Any, **named: Any) -> Any:
            nonlocal left
            done = write(*given, **named)
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return written

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(root)
    os.link, os.replace, os.rename, os.mkdir = map(dying_after, (os.link, os.replace, os.rename, os.mkdir))
    LocalBlockStore.keep = dying_after(LocalBlockStore.keep)  # type: ignore[method-assign]
    sys.stdout = sys.stderr = (root / "said").open("w")


def run_until(writes: int, environment: dict[str, str], root: Path, arguments: tuple[str, ...]) -> None:
    """What the child does: the command, until so many files and blocks were written."""
    die_after(writes, environment, root)
    from learnae.cli.main import main

    main(list(arguments))


def tick_until(writes: int, environment: dict[str, str], root: Path, directory: Path) -> None:
    """What the child does: run ann's peer until it has welcomed all and has an epoch, or dies of its writes."""
    die_after(writes, environment, root)
    steward._TURN_MS = 0  # no other member runs: there is no turn to wait for
    workspace = Workspace(open_swarm(directory), peer_directory("ann"))
    learner = PassiveLearner(workspace.swarm.manifest.model.count)
    peer = build_peer(workspace, learner, Options("ann", "trainer", 8)).peer
    while not is_settled(directory):
        peer.tick()
        time.sleep(0.02)


def is_settled(directory: Path) -> bool:
    with closing(LocalBlockStore(directory)) as store:
        registrar = Registrar(directory, open_manifest(directory), store)
        owner, roster = registrar.owner(), registrar.ledger.roster()
        assert owner is not None
        return not roster.pending and Keyring(owner, registrar.ledger).epoch() is not None


def kill_after(writes: int, programs: Programs, *arguments: str) -> bool:
    """Return True if the command was killed, and not at its end before."""
    child = PROCESSES.Process(target=run_until, args=(writes, programs.environment(), programs.root, arguments))
    child.start()
    child.join(END_SECONDS)
    assert child.exitcode in (0, -signal.SIGKILL), (programs.root / "said").read_text()
    return child.exitcode != 0


def check_epoch(directory: Path) -> None:
    """Assert that who made the swarm has its key, and a secret that all members share."""
    with closing(LocalBlockStore(directory)) as store:
        registrar = Registrar(directory, open_manifest(directory), store)
        owner = registrar.owner()
        assert owner is not None
        assert owner.author in registrar.ledger.roster().members
        assert Keyring(owner, registrar.ledger).current() is not None
        assert not registrar.errors.counts
        assert not list(registrar.ledger.missing())


def members(programs: Programs) -> dict[str, list[str]]:
    found = programs.answer("learnae", "members")
    return {standing: [each["shown"] for each in found[standing]] for standing in ("member", "waiting", "removed")}


def test_create(tmp_path: Path) -> None:
    deaths = 0
    while True:
        with Programs(tmp_path / str(deaths)) as programs:
            programs.root.mkdir()
            was_killed = kill_after(deaths + 1, programs, *CREATE)
            done = programs.run("learnae", *CREATE)
            assert done.returncode == 0 or "there is a swarm 'thermal' here already" in done.stderr
            made = [path.parent for path in programs.home.glob("swarms/*/manifest.cbor")]
            assert len(made) == 1 or not was_killed
            for directory in made:
                check_epoch(directory)
                assert (directory / "owner.key").stat().st_mode & 0o777 == 0o600
            assert members(programs)["member"] == ["owner"]
        if not was_killed:
            break
        deaths += 1
    assert 5 <= deaths < MOST_WRITES


def test_join(tmp_path: Path) -> None:
    deaths = 0
    while True:
        with Programs(tmp_path / str(deaths)) as programs:
            programs.root.mkdir()
            directory = Path(programs.answer("learnae", *CREATE)["directory"])
            was_killed = kill_after(deaths + 1, programs, *JOIN)
            done = programs.run("learnae", *JOIN)
            assert done.returncode == 0 or "ann.toml exists" in done.stderr
            check_epoch(directory)
            assert members(programs) == {"member": ["owner", "ann"], "waiting": [], "removed": []}
            key = programs.home / "peers" / "ann" / "key.pem"
            assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
            assert Identity.load(key)
            assert (programs.root / "ann.toml").exists()
        if not was_killed:
            break
        deaths += 1
    assert 6 <= deaths < MOST_WRITES  # its directory, its key, an invite, a join, a welcome, the configuration


def test_revoke_and_leave(tmp_path: Path) -> None:
    for arguments in (("revoke", "ann"), ("leave", "ann", "--yes")):
        deaths = 0
        while True:
            with Programs(tmp_path / f"{arguments[0]}-{deaths}") as programs:
                programs.root.mkdir()
                directory = Path(programs.answer("learnae", *CREATE)["directory"])
                peer = programs.answer("learnae", *JOIN)["peer"]
                was_killed = kill_after(deaths + 1, programs, *arguments)
                done = programs.run("learnae", *arguments)
                assert done.returncode == 0 or "there is none" in done.stderr or "no peer 'ann'" in done.stderr
                programs.answer("learnae", "join", "--name", "bob", "--config", "bob.toml")
                check_epoch(directory)
                found = programs.answer("learnae", "members")
                assert [each["peer"] for each in found["removed"]] == [peer]
                assert [each["shown"] for each in found["member"]] == ["owner", "bob"]
            if not was_killed:
                break
            deaths += 1
        assert 1 <= deaths < MOST_WRITES, json.dumps(arguments)


def test_a_running_member_that_is_to_welcome_one_and_to_shut_another_out(tmp_path: Path) -> None:
    deaths = 0
    while True:
        with Programs(tmp_path / str(deaths)) as programs:
            programs.root.mkdir()
            directory = Path(programs.answer("learnae", *CREATE)["directory"])
            programs.answer("learnae", *JOIN)
            gone = programs.answer("learnae", "join", "--name", "bob", "--config", "bob.toml")["peer"]
            carol = Identity.generate()
            with closing(LocalBlockStore(directory)) as store:
                registrar = Registrar(directory, open_manifest(directory), store)
                owner = registrar.member_here()
                invite, seed = registrar.invite(owner, 1, SystemClock().now() + 3_600_000)
                registrar.ask(carol, invite.cid, seed)
                registrar.sign(owner, Vote(key_of(gone), REMOVE))
            assert not is_settled(directory)
            exits = []
            for writes in (deaths + 1, 0):  # killed, and once more to its end
                arguments = (writes, programs.environment(), programs.root, directory)
                child = PROCESSES.Process(target=tick_until, args=arguments)
                child.start()
                child.join(END_SECONDS)
                assert child.exitcode in (0, -signal.SIGKILL), (programs.root / "said").read_text()
                exits.append(child.exitcode)
            assert exits[1] == 0
            check_epoch(directory)
            with closing(LocalBlockStore(directory)) as store:
                ledger = Registrar(directory, open_manifest(directory), store).ledger
            assert carol.author in ledger.roster().members
            assert key_of(gone) in ledger.roster().removed
            current, bob = Keyring(carol, ledger).current(), Identity.load(programs.home / "peers" / "bob" / "key.pem")
            assert current is not None
            assert Keyring(bob, ledger).secret_of(current[0]) is None
        if exits[0] == 0:
            break
        deaths += 1
    assert 3 <= deaths < MOST_WRITES  # an epoch, a welcome, and what it says of itself
