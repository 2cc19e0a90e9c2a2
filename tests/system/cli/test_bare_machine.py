"""Every command where little is as usual: no home, no locale, few files, no room, no terminal, no patience."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from disks import fill, read_only, small_disk
from nightly import how_many
from programs import clean_environment
from wrong_calls import ROOT_NAME, STATUSES, VERBS, Call, Template

_FILES = 256
_PATIENCES = 1.0, 30.0  # seconds until a process is told to stop; the second where it had not even begun
_ARGUMENTS = {  # with which a command does what it is for, or what it can without a board and a broker
    ("learnae", "swarm create"): "--preset wrist --name other",
    ("learnae", "join"): "small --data data.npz --name other",
    ("learnae", "watch"): "--rounds 3 --every 0.2",
    ("learnae", "export"): "new.safetensors",
    ("learnae", "rollback"): "best",
    ("learnae", "anchor"): "data.npz --node http://127.0.0.1:1",
    ("agent", "label"): "x",
    ("agent", "export"): "new.tflite",
    ("agent", "install"): "garden --bridge pump --trainer --root image",
    ("trainer_node", "start"): "--name pump",
    ("firmware_bridge", "run"): "--port nowhere",
    ("firmware_bridge", "check"): "--port nowhere",
    ("firmware_bridge", "monitor"): "--count 1",
}
_SIGNALS = {"SIGINT": (signal.SIGINT,) * 2, "SIGTERM": (signal.SIGTERM,) * 2, "SIGHUP": (signal.SIGHUP, signal.SIGTERM)}
CONDITIONS = ("bare", "closed", "full output", "no reader", "read-only disk", "full disk", *_SIGNALS)
# the doctor tries JAX for seconds, and all that is its own is in the others
NAMES = [f"{module} {' '.join(words)}" for module, words in VERBS if words != ("doctor",)]
EVERY = list(itertools.product(NAMES, CONDITIONS))
# each command under one condition, another each; nightly under all
CASES = EVERY if how_many(0, 1) else EVERY[:: len(CONDITIONS) + 1]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(tmp_path_factory.mktemp("bare") / ROOT_NAME)


@pytest.mark.parametrize(("name", "condition"), CASES)
def test_a_command_ends_as_it_should(template: Template, tmp_path: Path, name: str, condition: str) -> None:
    module, _, verb = name.partition(" ")
    call = Call(module, (*verb.split(), *_ARGUMENTS.get((module, verb), "").split()))
    for patience in _PATIENCES:
        with place(template, tmp_path, condition) as root:
            said, status = finish(root, call, condition, patience)
        has_begun = ", in main\n" in said and "init_import_site" not in said
        if has_begun or "KeyboardInterrupt" not in said:
            break  # else Ctrl-C has ended a Python that had not begun with the program
    assert "Traceback" not in said, said
    assert "Exception ignored" not in said, said
    numbers = _SIGNALS.get(condition, (signal.SIGTERM,) * 2)
    assert status in STATUSES | {-number for number in numbers}, said


@contextmanager
def place(template: Template, tmp_path: Path, condition: str) -> Iterator[Path]:
    """The home, on a disk as ``condition`` says."""
    disk = small_disk(tmp_path / "disk", "8m") if condition == "full disk" else nullcontext(tmp_path)
    with disk as directory:
        template.copy(root := directory / ROOT_NAME)
        if condition == "full disk":
            fill(directory)
        with read_only(root) if condition == "read-only disk" else nullcontext():
            yield root
    shutil.rmtree(tmp_path / ROOT_NAME, ignore_errors=True)


def finish(root: Path, call: Call, condition: str, patience: float) -> tuple[str, int]:
    """Run a call as a process; return what it has written to standard error, and its status."""
    words = root.parent / "said" if condition != "full disk" else root.parent.parent / "said"
    own = {"LEARNAE_HOME": str(root / "home"), "XDG_CONFIG_HOME": str(root / "config")}
    own["LEARNAE_TRAIN__ENGINE"] = "numpy"
    bare = {**own, "PATH": os.defpath, "LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    before = {"bare": f"ulimit -n {_FILES}; ", "closed": "exec >&- <&-; "}.get(condition, "")
    command = ["sh", "-c", f'{before}exec "$@"', "sh", sys.executable, "-m", call.module, *call.arguments]
    read_end, write_end = os.pipe()
    os.close(read_end)
    streams = {"full output": "/dev/full", "no reader": write_end}
    with words.open("wb") as stderr, open(streams.get(condition, os.devnull), "wb") as stdout:
        environment = bare if condition == "bare" else clean_environment(**own)
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        try:
            status = end(process, call, _SIGNALS.get(condition, ()), patience)
        finally:
            process.kill()
            process.wait()
    if condition != "no reader":
        os.close(write_end)
    return words.read_text(errors="replace"), status


def end(process: subprocess.Popen[bytes], call: Call, numbers: tuple[signal.Signals, ...], patience: float) -> int:
    """Wait for it; one that goes on is told to stop, as a person in a hurry does."""
    for number in numbers or ((signal.SIGTERM,) if call.is_endless else ()):
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
    return process.wait(60)
