"""What ends a program early ends it without a trace, and libraries do not talk in its log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from learnae.errors import ConfigurationError, TransportError
from learnae.logs import set_up_logging
from learnae.service import run_program


def ended(command: Callable[[], int]) -> object:
    with pytest.raises(SystemExit) as caught:
        run_program("program", command)
    return caught.value.code


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


def test_the_status_of_a_command_is_the_programs() -> None:
    assert ended(lambda: 3) == 3


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigurationError("no data", "give some"), 78, "program: no data; give some\n"),
        (TransportError("nobody is there"), 75, "program: nobody is there\n"),
        (ModuleNotFoundError(name="cobs"), 78, "program: cobs is not installed; pip install 'learnae[serial]'\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_what_ends_a_program_is_one_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error)) == status
    assert capsys.readouterr() == ("", said)


def test_a_module_of_our_own_that_is_missing_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError):
        run_program("program", raising(ModuleNotFoundError(name="learnae.absent")))


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
