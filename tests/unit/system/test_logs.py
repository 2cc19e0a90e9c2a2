"""A program's log has its own records and libraries' warnings; LEARNAE_LOG says more of some loggers."""

import logging
from collections.abc import Iterator

import pytest

from learnae.errors import ConfigurationError
from learnae.system.logs import set_up_logging
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
