"""A home is moved, backed up, restored and left: the same peers go on, and nothing is lost without a word."""

import io
import json
import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import Programs, assert_refused, succeed, wait_for

from learnae.adapters.local.bans import Bans
from learnae.adapters.local.lock import Lock
from learnae.config.loading import load_config
from learnae.protocol.identity import Identity, peer_name
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import KEY_FILE, LOCK_FILE
from trainer_node.config import TrainerConfig

CONFIGURATION, TRY_AGAIN = 78, 75
MANIFEST = Manifest("small", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy")


@pytest.fixture
def config(programs: Programs) -> Path:
    """The configuration of a peer ``pump``, made as users make it."""
    programs.add_swarm(MANIFEST)
    rows = np.random.default_rng(0).normal(size=(60, 2))
    data = programs.root / "data.npz"
    np.savez(data, x=rows, y=(rows.sum(axis=1) > 0).astype(int))
    programs.answer("learnae", "join", "small", "--name", "pump", "--data", data)
    return programs.config / "learnae" / "trainer.toml"


def run_for_a_while(programs: Programs, name: str = "pump") -> int:
    """Let the trainer say three messages more; returns the number of its last one."""
    before = programs.status(name).get("seq") or 0
    process = programs.start("trainer_node", "start")
    wait_for(lambda: (programs.status(name).get("seq") or 0) >= before + 3, "three messages")
    process.stop()
    seq: int = programs.status(name)["seq"]
    return seq


def key(programs: Programs, name: str = "pump") -> bytes:
    return Identity.load(programs.home / "peers" / name / KEY_FILE).author


def other_disk(near: Path) -> Path | None:
    """A directory of another file system, if there is one here."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() and os.access(shm, os.W_OK) and shm.stat().st_dev != near.stat().st_dev else None


@pytest.mark.parametrize("where", ["beside", "on another disk"])
def test_a_moved_home_goes_on_from_the_new_place(programs: Programs, config: Path, where: str, tmp_path: Path) -> None:
    away = other_disk(tmp_path) if where != "beside" else tmp_path
    if away is None:
        pytest.skip("all is on one file system")
    author, seq = key(programs), run_for_a_while(programs)
    target = away / f"learnae-{os.getpid()}"
    try:
        programs.answer("learnae", "move", target)
        assert programs.home.is_symlink()
        assert programs.home.resolve() == target
        assert key(programs) == author
        assert run_for_a_while(programs) >= seq + 3
        again = target.with_name(f"{target.name}-2")
        programs.answer("learnae", "move", again)
        assert (programs.home.resolve(), target.exists(), key(programs)) == (again, False, author)
        shutil.rmtree(again)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_who_joins_again_with_the_key_still_here_keeps_its_name(programs: Programs, config: Path) -> None:
    author, seq = key(programs), run_for_a_while(programs)
    config.unlink()
    again = programs.answer("learnae", "join", "small", "--data", programs.root / "data.npz")
    assert (again["name"], key(programs)) == ("pump", author)
    assert run_for_a_while(programs) >= seq + 3
    config.unlink()
    assert programs.answer("learnae", "join", "small", "--name", "fan")["name"] == "fan"
    other = programs.answer("learnae", "join", "small", "--config", programs.root / "other.toml")
    assert other["name"] == "trainer", "a configuration of its own is for another peer"


def test_a_home_in_use_or_without_a_place_stays(programs: Programs, config: Path, tmp_path: Path) -> None:
    lock = Lock(programs.home / "peers" / "pump" / LOCK_FILE)
    assert_refused(programs.run("learnae", "move", tmp_path / "new"), TRY_AGAIN, "in use by process")
    assert_refused(programs.run("learnae", "rename", "pump", "fan"), TRY_AGAIN, "in use by process")
    lock.release()
    for target, words in ((tmp_path, "exists"), (programs.home / "x", "in the home itself"), (Path("/no/x"), "no dir")):
        assert_refused(programs.run("learnae", "move", target), CONFIGURATION, words)
    assert (programs.home / "peers" / "pump" / KEY_FILE).exists()


def test_a_backup_of_a_running_peer_restores_it(programs: Programs, config: Path, tmp_path: Path) -> None:
    author, file = key(programs), tmp_path / "learnae.tar"
    (programs.home / "peers" / "pump" / "samples.db").write_bytes(b"readings")
    process = programs.start("trainer_node", "start")
    wait_for(lambda: (programs.status("pump").get("seq") or 0) >= 3, "three messages")
    liar = Identity.generate().author
    programs.answer("learnae", "ban", peer_name(liar), "--why", "a liar")
    said = programs.status("pump")["seq"]
    made = programs.answer("learnae", "backup", file)
    process.stop()
    assert (made["peers"], file.stat().st_mode & 0o777, file.stat().st_size) == (["pump"], 0o600, made["bytes"])
    with tarfile.open(file) as tar:
        kinds = {re.sub(r"[a-z0-9]{50,}|v\d+|best", "*", name) for name in tar.getnames()}
    assert kinds - {"peers/pump/versions/*"} == {
        "peers/pump/key.pem", "peers/pump/state", "peers/pump/summaries", "swarms/*/manifest.cbor", "swarms/*/blocks/*",
        "swarms/*/bans/*",
    }  # fmt: skip

    programs.answer("learnae", "rename", "pump", "fan")  # one key must not be two peers
    assert_refused(programs.run("learnae", "restore", file), CONFIGURATION, "here already", "learnae leave fan")
    programs.answer("learnae", "join", "small", "--name", "pump", "--config", tmp_path / "other.toml")
    programs.answer("learnae", "backup", tmp_path / "both.tar")
    programs.answer("learnae", "leave", "fan", "--yes")
    assert_refused(programs.run("learnae", "restore", file), CONFIGURATION, "learnae rename pump NAME")
    assert programs.answer("learnae", "restore", tmp_path / "both.tar")["known"] == {"pump": "pump"}
    assert key(programs, "fan") == author
    shutil.rmtree(programs.home)
    config.write_text(config.read_text().replace("fan", "pump"))
    assert list(programs.answer("learnae", "restore", file)["peers"]) == ["pump"]
    assert key(programs) == author
    assert not (programs.home / "peers" / "pump" / "samples.db").exists()
    assert [ban.why for ban in Bans(programs.home / "swarms" / str(MANIFEST.swarm)).read().values()] == ["a liar"]
    assert run_for_a_while(programs) >= said


def changed(source: Path, target: Path, change: str) -> None:
    """Copy a backup with one thing wrong."""
    if change == "cut":
        target.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
        return
    if change == "header":
        header = tarfile.TarInfo("x")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 37
        target.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
        os.truncate(target, 1 << 37)
        return
    with tarfile.open(source) as tar, tarfile.open(target, "w") as out:
        for entry in tar:
            content: Any = tar.extractfile(entry)
            data = bytearray(content.read())
            kind, _, word = change.partition(" ")
            if kind == "damage" and re.search(word, entry.name):
                data[len(data) // 2] ^= 1
                change = ""
            if kind == "name" and entry.name.endswith("state"):
                entry.name = word
            if kind == "link" and entry.name.endswith("state"):
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                entry.size, data = 0, bytearray()
            if kind == "cut" and entry.name.endswith("pem"):
                data = data[:50]
            if kind == "twice" and entry.name.endswith("state"):
                out.addfile(entry, io.BytesIO(bytes(data)))
            if kind == "large" and entry.name.endswith("pem"):
                data = bytearray(1 << 16)
            if kind == "swap" and entry.name.endswith("pem"):
                Identity.load_or_create(target.with_suffix(".pem"))
                data = bytearray(target.with_suffix(".pem").read_bytes())
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(bytes(data)))


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ("cut", CONFIGURATION, "is no backup"),
        ("damage state", TRY_AGAIN, "the saved state is damaged"),
        ("damage blocks/", TRY_AGAIN, "are not what its name says"),
        ("damage manifest", TRY_AGAIN, "manifest.cbor is damaged"),
        ("cut key", TRY_AGAIN, "the key of pump is damaged; take another backup"),
        ("twice", CONFIGURATION, "/state' twice"),
        ("header", CONFIGURATION, "bytes about one entry"),
        ("swap", TRY_AGAIN, "its key is not the one"),
        ("large", CONFIGURATION, "at most 4096 are read"),
        ("link", CONFIGURATION, "which no backup has"),
        ("name ../../escaped", CONFIGURATION, "which no backup has"),
        ("name peers/../state", CONFIGURATION, "is no name for a peer"),
        ("name peers/pump/lock", CONFIGURATION, "which no backup has"),
        ("name /etc/learnae/agent.toml", CONFIGURATION, "which no backup has"),
    ],
)
def test_what_is_wrong_with_a_backup_is_said_and_no_peer_appears(
    programs: Programs, config: Path, tmp_path: Path, change: str, status: int, words: str
) -> None:
    run_for_a_while(programs)
    programs.answer("learnae", "backup", tmp_path / "good.tar")
    changed(tmp_path / "good.tar", tmp_path / "bad.tar", change)
    shutil.rmtree(programs.home / "peers")
    assert_refused(programs.run("learnae", "restore", tmp_path / "bad.tar"), status, words)
    peers = programs.home / "peers"
    assert not peers.exists() or not list(peers.iterdir())
    assert [name for name in os.listdir(programs.home) if name.startswith(".")] == []


def test_what_is_no_backup_is_said(programs: Programs, config: Path, tmp_path: Path) -> None:
    tarfile.open(tmp_path / "empty.tar", "w").close()
    (tmp_path / "text.tar").write_text("text")
    for name, words in (
        ("empty.tar", "no peer"),
        ("text.tar", "no backup"),
        ("none.tar", "cannot read"),
        (".", "Is a directory"),
    ):
        assert_refused(programs.run("learnae", "restore", tmp_path / name), CONFIGURATION, words)
    assert_refused(programs.run("learnae", "backup", tmp_path / "x.zip"), CONFIGURATION, "end its name with .tar")
    assert_refused(
        programs.run("learnae", "backup", "--peer", "fan", tmp_path / "x.tar"), CONFIGURATION, "no peer 'fan'"
    )


def test_nothing_is_removed_off_a_terminal_without_a_word(programs: Programs, config: Path) -> None:
    peer = programs.home / "peers" / "pump"
    done = programs.run("learnae", "leave")
    assert done.returncode == CONFIGURATION
    assert "nothing was removed; to do it, add --yes" in done.stderr
    assert str(peer) in done.stdout
    assert str(config) in done.stdout
    assert (peer / KEY_FILE).exists()


def test_a_running_peer_is_stopped_and_removed_and_the_others_stay(programs: Programs, config: Path) -> None:
    programs.answer("learnae", "join", "small", "--name", "fan", "--config", programs.root / "fan.toml")
    swarm = programs.home / "swarms" / str(MANIFEST.swarm)
    seq = run_for_a_while(programs)
    assert list((swarm / "heads").iterdir())
    process = programs.start("trainer_node", "start")
    wait_for(lambda: programs.status("pump")["seq"] > seq, "it to work")
    assert_refused(programs.run("learnae", "leave", "--yes"), CONFIGURATION, "there are 2 peers")
    assert_refused(programs.run("learnae", "leave", "pumpe", "--yes"), CONFIGURATION, "there are fan, pump")
    done = programs.run("learnae", "leave", "pump", "--yes", "--with-swarm")
    assert_refused(done, CONFIGURATION, "fan may be in that swarm, too", "leave fan first")
    assert_refused(programs.run("learnae", "leave", "fan", "--yes", "--with-swarm"), CONFIGURATION, "fan has not run")
    assert process.poll() is None
    programs.answer("learnae", "leave", "fan", "--yes")
    gone = programs.answer("learnae", "leave", "pump", "--yes", "--with-swarm")
    assert process.wait(60) == 0
    assert gone["removed"] == [str(programs.home / "peers" / "pump"), str(swarm)]
    assert list((programs.home / "peers").iterdir()) == []
    assert not swarm.exists()


def test_what_a_killed_command_has_left_goes_with_the_next(programs: Programs, config: Path, tmp_path: Path) -> None:
    dead = succeed("sh", "-c", "echo $$").stdout.strip()
    peers, running = programs.home / "peers", f".left-pump-{os.getppid()}"
    for name in (f".left-pump-{dead}", f".restoring-backup-{dead}", running):
        shutil.copytree(peers / "pump", peers / name)
    programs.answer("learnae", "backup", tmp_path / "learnae.tar")
    programs.answer("learnae", "leave", "--yes")
    programs.answer("learnae", "restore", tmp_path / "learnae.tar")
    assert sorted(os.listdir(peers)) == [running, "pump"]


def test_links_in_a_home_keep_leading_where_they_did(programs: Programs, config: Path, tmp_path: Path) -> None:
    """Users put what is large on another disk."""
    author, big = key(programs), (other_disk(tmp_path) or tmp_path) / f"peers-{os.getpid()}"
    programs.answer("learnae", "backup", tmp_path / "learnae.tar")
    try:
        shutil.move(programs.home / "peers", big)
        (programs.home / "peers").symlink_to(os.path.relpath(big, programs.home))
        done = programs.run("learnae", "move", tmp_path / "far" / ".." / "new")
        assert_refused(done, CONFIGURATION, "which a move would break", "ln -sfn")
        succeed("sh", "-c", done.stderr[done.stderr.index("ln -sfn") :])
        programs.answer("learnae", "move", tmp_path / "new")
        assert key(programs) == author
        programs.answer("learnae", "leave", "--yes")
        programs.answer("learnae", "restore", tmp_path / "learnae.tar")
        assert key(programs) == author
    finally:
        shutil.rmtree(big, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in the homes of others")
@pytest.mark.parametrize("where", ["beside", "on another disk"])
def test_what_root_does_in_another_users_home_is_that_users(
    programs: Programs, config: Path, tmp_path: Path, where: str
) -> None:
    target = ((where != "beside" and other_disk(tmp_path)) or tmp_path) / f"moved-{os.getpid()}"
    run_for_a_while(programs)
    version = programs.answer("learnae", "versions")[0]["version"]
    programs.answer("learnae", "backup", tmp_path / "learnae.tar")
    for path in (programs.home, *programs.home.rglob("*")):
        os.chown(path, 65534, 65534)
    try:
        programs.answer("learnae", "rollback", version)
        programs.answer("learnae", "rename", "pump", "fan")
        programs.answer("learnae", "leave", "fan", "--yes")
        programs.answer("learnae", "restore", tmp_path / "learnae.tar")
        programs.answer("learnae", "move", target)
        assert [path for path in (target, *target.rglob("*")) if path.lstat().st_uid != 65534] == []
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_keys_are_kept_beside_a_swarm_that_cannot_be_read(programs: Programs, config: Path, tmp_path: Path) -> None:
    author = key(programs)
    other = programs.answer("learnae", "swarm", "create", "--preset", "thermal")["directory"]
    (Path(other) / "manifest.cbor").write_bytes(b"damaged")
    done = programs.run("learnae", "backup", tmp_path / "learnae.tar", "--json")
    assert (done.returncode, json.loads(done.stdout)["left_out"]) == (1, [other])
    assert f"left out: {other}/manifest.cbor" in done.stderr
    shutil.rmtree(programs.home)
    programs.answer("learnae", "restore", tmp_path / "learnae.tar")
    assert key(programs) == author


def test_a_swarm_that_another_peer_needs_stays(programs: Programs, config: Path) -> None:
    run_for_a_while(programs)
    shutil.copytree(programs.home / "peers" / "pump", programs.home / "peers" / "twin")
    done = programs.run("learnae", "leave", "pump", "--yes", "--with-swarm")
    assert_refused(done, CONFIGURATION, "twin is in that swarm, too")
    assert (programs.home / "peers" / "pump" / KEY_FILE).exists()
    programs.answer("learnae", "leave", "pump", "--yes")
    heads = programs.home / "swarms" / str(MANIFEST.swarm) / "heads"
    assert (heads.exists(), list(heads.iterdir())) == (True, [])


WAYS = {
    "as joined": None,
    "unnamed": "[data]\nfile = 'data.npz'\n",
    "a section without a name": "[peer] # me\nfollow = 2\n[swarm]\nid = 'small'\n",
    "spaces, CRLF": "[mqtt]\nprefix = 'a'\r\n[ peer ]\r\n",
    "in one line": "peer = { name = 'trainer' }\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_renamed_peer_keeps_its_key_and_its_configuration_finds_it(
    programs: Programs, config: Path, way: str
) -> None:
    text, name = WAYS[way], "pump"
    if text is not None:
        programs.answer("learnae", "join", "small", "--config", programs.root / "unused.toml", "--name", "trainer")
        config.write_text(text)
        name = "trainer"
    author, before = key(programs, name), load_config(TrainerConfig, "trainer", config, environment={})
    done = programs.run("learnae", "rename", name, "Lüfter 2", "--json")
    after, said = load_config(TrainerConfig, "trainer", config, environment={}), json.loads(done.stdout)
    assert key(programs, "Lüfter 2") == author
    if way == "in one line":
        assert (done.returncode, said["by_hand"], after) == (1, [str(config)], before)
    else:
        assert (done.returncode, said["changed"], after.peer.name) == (0, [str(config)], "Lüfter 2")
        assert (after.swarm, after.data, after.peer.follow) == (before.swarm, before.data, before.peer.follow)


def test_a_configuration_elsewhere_is_changed_where_it_is_or_named(programs: Programs, config: Path) -> None:
    real = programs.root / "dotfiles.toml"
    config.rename(real)
    config.symlink_to(real)
    assert programs.answer("learnae", "rename", "pump", "fan")["changed"] == [str(config)]
    assert (config.is_symlink(), 'name = "fan"' in real.read_text()) == (True, True)
    config.unlink()
    done = programs.run("learnae", "rename", "fan", "pump")
    assert (done.returncode, "set [peer] name to 'pump' yourself" in done.stderr) == (0, True)


def test_a_name_that_is_taken_or_none_is_refused(programs: Programs, config: Path) -> None:
    for name, words in (("pump", "there is a peer 'pump' already"), ("../x", "is no name for a peer")):
        assert_refused(programs.run("learnae", "rename", "pump", name), CONFIGURATION, words)
    assert_refused(programs.run("learnae", "rename", "fan", "x"), CONFIGURATION, "no peer 'fan'")
