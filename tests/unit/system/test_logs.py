"""A program's log has its own records and libraries' warnings; LEARNAE_LOG says more of some loggers."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from learnae.errors import ConfigurationError
from learnae.system.logs import FILE_VARIABLE, set_up_logging
from learnae.system.service import run_program


@pytest.fixture
def restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "learnae", "agent", "trainer_node", "firmware_bridge")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize(("verbose", "heard"), [(False, ["ours", "warning"]), (True, ["details", "ours", "warning"])])
def test_libraries_are_heard_from_warnings_on(
    verbose: bool, heard: list[str], restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they say to their developers would bury what is ours."""
    set_up_logging(verbose)
    logging.getLogger("agent.wiring").debug("details")
    logging.getLogger("agent.wiring").info("ours")
    logging.getLogger("jax").info("theirs")
    logging.getLogger("jax").warning("warning")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == heard


@pytest.mark.parametrize(
    "package", ["learnae.adapters.mqtt.gossip", "agent.wiring", "trainer_node.cli", "firmware_bridge.bridge"]
)
def test_every_module_is_heard(package: str, restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    logging.getLogger(package).info("ours")
    assert capsys.readouterr().err.endswith("ours\n")


@pytest.fixture
def levels(restored: None) -> Iterator[dict[str, int]]:
    """The levels that some loggers have before the test; put back afterwards."""
    before = {name: logging.getLogger(name).level for name in ("tested.one", "tested.two", "tested", "learnae.peer")}
    yield before
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("", {}),
        (" , ", {}),
        ("tested.one=debug", {"tested.one": logging.DEBUG}),
        (" tested.one = DEBUG , tested.two=Critical,", {"tested.one": logging.DEBUG, "tested.two": logging.CRITICAL}),
        ("tested=warning,tested=error", {"tested": logging.ERROR}),
        ("learnae.peer=error", {"learnae.peer": logging.ERROR}),
    ],
)
def test_levels_of_named_loggers(
    setting: str, changed: dict[str, int], levels: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNAE_LOG", setting)
    set_up_logging()
    assert {name: logging.getLogger(name).level for name in levels} == {**levels, **changed}


@pytest.mark.parametrize(
    "bad", ["debug", "learnae.peer", "learnae.peer=", "=debug", "learnae..peer=debug", "learnae.peer=loud", "a=b=debug",
            "learnae.peer=10", "\udcff=debug", "x" * 100_000, "../peer=debug", "learnae.peer=debug;learnae=debug"],
)  # fmt: skip
def test_a_broken_setting_is_one_line_that_names_it(bad: str, restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_LOG", f"learnae=info, {bad}")
    with pytest.raises(ConfigurationError) as caught:
        set_up_logging()
    assert caught.value.problem == f"LEARNAE_LOG holds {bad[:60]!r}"
    assert caught.value.remedy.startswith("write LOGGER=LEVEL, such as learnae.peer=debug; levels are debug, ")


def test_a_broken_setting_ends_a_program_with_status_78(
    restored: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEARNAE_LOG", "loud")
    with pytest.raises(SystemExit) as caught:
        run_program("program", lambda: set_up_logging() or 0)  # type: ignore[func-returns-value]
    assert caught.value.code == 78
    assert capsys.readouterr().err.startswith("program: LEARNAE_LOG holds 'loud'; write LOGGER=LEVEL")


LONG = """
import logging, sys
from learnae.system import logs
logs.MOST_BYTES = 20_000
logs.set_up_logging()
for number in range(1000):
    logging.getLogger("learnae.peer").info("record %06d " + "x" * 50, number)
    print(f"library {number:06d}", file=sys.stdout if number % 2 else sys.stderr, flush=True)
"""


def write_long_log(path: Path) -> None:
    with path.open("ab") as file:
        subprocess.run(
            [sys.executable, "-c", LONG],
            stdout=file,
            stderr=file,
            env={**os.environ, FILE_VARIABLE: str(path)},
            check=True,
        )


def test_the_log_of_a_program_in_the_background_is_bounded_and_loses_nothing_that_is_new(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_long_log(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "log.1"]
    assert all(each.stat().st_size < 20_200 for each in tmp_path.iterdir())
    text = (tmp_path / "log.1").read_text() + path.read_text()
    for word in ("record", "library"):
        numbers = [int(found) for found in re.findall(rf"{word} (\d+)", text)]
        assert numbers == list(range(numbers[0], 1000))
        assert len(numbers) > 150
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d INFO", text.splitlines()[-2]), "of which day"


def test_a_log_that_cannot_be_begun_anew_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.1").mkdir()
    write_long_log(path)
    assert "record 000999" in path.read_text()
