"""Keys and their directories are their owner's alone, and what others may have changed is not trusted."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from builders import tiny_manifest

from learnae.errors import ManifestError, StateError
from learnae.protocol.identity import Identity
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm, find_swarm, open_swarm
from learnae.system.paths import peer_directory


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LEARNAE_HOME", str(home))
    return home


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077, 0o177])
def test_whatever_the_umask_keys_are_private_and_nothing_is_for_others_to_write(root: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        workspace = Workspace(create_swarm(tiny_manifest()), peer_directory("pump"))
        workspace.release()
    finally:
        os.umask(before)
    directory = peer_directory("pump")
    assert (mode_of(directory), mode_of(directory / "key.pem")) == (0o700, 0o600)
    made = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert [path for path in made if mode_of(path) & 0o022] == []
    assert find_swarm().manifest == tiny_manifest()


def test_what_was_open_is_tightened_and_said_once_each(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = peer_directory("pump") / "key.pem"
    author = Identity.load_or_create(key).author
    key.chmod(0o644)
    key.parent.chmod(0o777)
    assert Identity.load_or_create(key).author == author
    assert (mode_of(key.parent), mode_of(key)) == (0o700, 0o600)
    assert [
        f"{path} was open to other users" in line for path, line in zip((key.parent, key), caplog.messages, strict=True)
    ]
    caplog.clear()
    key.chmod(0o400)
    assert Identity.load_or_create(key).author == author
    assert (mode_of(key), caplog.messages) == (0o400, [])


def test_keys_are_not_read_through_links(root: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "key.pem"
    Identity.load_or_create(theirs)
    key = peer_directory("pump") / "key.pem"
    key.parent.mkdir(parents=True)
    for target in (theirs, tmp_path / "nothing"):
        key.unlink(missing_ok=True)
        key.symlink_to(target)
        for read in (Identity.load, Identity.load_or_create):
            with pytest.raises(StateError, match=f"{key} is a link.*{target}"):
                read(key)
    assert not (tmp_path / "nothing").exists()
    linked = root / "peers" / "fan"
    linked.symlink_to(theirs.parent, target_is_directory=True)
    swarm = create_swarm(tiny_manifest())
    for use in (lambda: Identity.load(linked / "key.pem"), lambda: Workspace(swarm, linked)):
        with pytest.raises(StateError, match=f"{linked} is a link"):
            use()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "pump" / "key.pem"
    Identity.load_or_create(key)
    os.chown(key, 65_533, 65_533)
    key.chmod(0o644)
    os.chown(key.parent, 65_534, 65_534)
    script = (
        "import os; from pathlib import Path; from learnae.protocol.identity import Identity;"
        "os.setuid(65534); Identity.load(Path('key.pem'))"
    )
    command, library = [sys.executable, "-c", script], {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=key.parent, env=library, capture_output=True, text=True, check=False)
    assert "key.pem is of user 65533; sudo chown" in done.stderr
    assert Identity.load(key), "root looks after everything"


def test_places_that_others_may_write_to_are_refused_with_what_to_type(root: Path, tmp_path: Path) -> None:
    swarm, named = create_swarm(tiny_manifest()), create_swarm(tiny_manifest(), tmp_path / "my swarm")
    peer = peer_directory("pump")
    Workspace(swarm, peer).release()
    for place, mode in ((root, 0o777), (root / "swarms", 0o775), (swarm.directory, 0o722), (root / "peers", 0o1777)):
        before = mode_of(place)
        place.chmod(mode)
        with pytest.raises(StateError, match=rf"may write to {place} \(mode {mode:04o}\).*; chmod go-w {place}$"):
            Workspace(find_swarm(str(swarm.manifest.swarm)), peer)
        place.chmod(before)
        Workspace(find_swarm(), peer).release()
    named.directory.chmod(0o2770)
    with pytest.raises(StateError, match=r"a group of this machine.*; chmod go-w '.*/my swarm'$"):
        open_swarm(named.directory)


def test_a_swarms_directory_holds_the_swarm_that_it_is_called_as(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = create_swarm(tiny_manifest()), create_swarm(tiny_manifest(seed=9), tmp_path / "other")
    named = tmp_path / "named" / ours.directory.name
    named.parent.mkdir()
    named.symlink_to(other.directory)
    with pytest.raises(ManifestError, match=f"{named} holds swarm {other.manifest.swarm}"):
        open_swarm(named)
    (tmp_path / "mine").symlink_to(ours.directory)
    assert open_swarm(tmp_path / "mine").manifest == ours.manifest
    monkeypatch.chdir(ours.directory)
    assert open_swarm(Path()).manifest == ours.manifest
    os.replace(other.directory / "manifest.cbor", ours.directory / "manifest.cbor")
    for directory in (ours.directory, tmp_path / "mine", Path()):
        with pytest.raises(ManifestError, match=f"holds swarm {other.manifest.swarm}, and is called as another"):
            open_swarm(directory)
    with pytest.raises(ManifestError, match="called as another"):
        find_swarm()


KILLED = """
import os, signal, sys
from pathlib import Path
from learnae.protocol.identity import Identity
os.umask(0)
root, number = Path(sys.argv[1]), 0
while True:
    number += 1
    child = os.fork()
    if not child:
        left = number
        def count(event, arguments):
            global left
            left -= event.startswith("os.") or event == "open"
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        Identity.load_or_create(root / str(number) / "peer" / "key.pem")
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
print(number)
"""


def test_kill_9_while_a_key_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    """Killed once before each call to the system that makes, opens, links or removes a file, and changes a mode."""
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=True)
    attempts = int(done.stdout)
    assert attempts > 8
    for number in range(1, attempts + 1):
        directory = tmp_path / str(number) / "peer"
        for path in directory.glob("*") if directory.is_dir() else ():
            assert (mode_of(directory), mode_of(path)) == (0o700, 0o600), "also what is left over"
        whole = (directory / "key.pem").exists()
        author = Identity.load(directory / "key.pem").author if whole else None
        assert Identity.load_or_create(directory / "key.pem").author == author or not whole
