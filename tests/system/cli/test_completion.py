"""Completion in real shells: verbs, options, choices and files, and nothing that is computed from names."""

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest
from programs import clean_environment

from learnae.cli.completion import SHELLS, script
from learnae.cli.main import _parser

CASES = [
    (["ev"], ["evaluate"]),
    (["swarm", "create", "--preset", "wr"], ["wrist", "wrist-cnn"]),
    (["swarm", "create", "--membership", ""], ["invite", "open", "vouched"]),
    (["evaluate", "--pic"], ["--picture"]),
    (["evaluate", "--data", "ro"], ["rows $(touch it).csv"]),
    (["restore", "ro"], ["rows $(touch it).csv"]),
    (["completion", "f"], ["fish"]),
    (["peers", "--swarm", ""], []),
    (["swarm", "evaluate", "--dat"], []),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "rows $(touch it).csv").touch()
    for shell in SHELLS:
        (tmp_path / f"completion.{shell}").write_text(script(shell, _parser()))
    return tmp_path


def said(place: Path, *command: str) -> str:
    environment = clean_environment(HOME=str(place), XDG_CONFIG_HOME=str(place), XDG_DATA_HOME=str(place))
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not (place / "it").exists(), "a name was executed"
    return done.stdout


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_bash_completes(place: Path, words: list[str], expected: list[str]) -> None:
    code = (
        'source completion.bash; COMP_WORDS=(learnae "$@"); COMP_CWORD=$#; _learnae; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = said(place, "bash", "--norc", "-c", code, "bash", *words)
    assert sorted(line for line in found.splitlines() if line) == expected


@pytest.mark.engine("fish")
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_fish_completes(place: Path, words: list[str], expected: list[str]) -> None:
    code = f"source completion.fish; complete -C'{' '.join(['learnae', *words])}'"
    found = said(place, "fish", "-N", "-c", code).splitlines()
    assert sorted(line.partition("\t")[0].replace("\\", "") for line in found) == expected


@pytest.mark.engine("zsh")
def test_zsh_completes(place: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        environment = {"TERM": "dumb", "PATH": os.environ["PATH"], "HOME": str(place), "PS1": "> "}
        os.chdir(place)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    try:
        os.write(terminal, b"source completion.zsh; echo rea''dy\n")
        wait_for(terminal, b"ready")
        os.write(terminal, b"learnae swarm create --preset wrist-\t")
        wait_for(terminal, b"wrist-cnn")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)


def wait_for(terminal: int, text: bytes) -> None:
    got, until = b"", time.monotonic() + 60
    while text not in got and time.monotonic() < until:
        if select.select([terminal], [], [], 1.0)[0]:
            got += os.read(terminal, 4096)
    assert text in got
