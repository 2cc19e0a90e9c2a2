"""What ends a program early ends it without a trace."""

import io
import os
import sys
from collections.abc import Callable

import pytest

from learnae.errors import ConfigurationError, TransportError
from learnae.system.installation import how_to_install
from learnae.system.service import run_program


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
        (ModuleNotFoundError(name="cobs"), 78, f"program: cobs is not installed; {how_to_install('serial')}\n"),
        (ModuleNotFoundError(name="cbor2"), 78, f"program: cbor2 is not installed; {how_to_install()}\n"),
        (
            ImportError("\nno AVX2\na page of advice", name="numpy"),
            78,
            f"program: numpy cannot be imported: no AVX2; {how_to_install()}\n",
        ),
        (KeyboardInterrupt(), 130, "\n"),
        (MemoryError(), 75, "program: there is not enough memory for this; end other programs, or add some\n"),
        (ConfigurationError("no a\nb\x1b[2Jü"), 78, "program: no a\\nb\\x1b[2Jü\n"),
        (ConfigurationError("x" * 9000), 78, f"program: {'x' * 2000} … {'x' * 2000}\n"),
    ],
)
def test_what_ends_a_program_is_one_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error)) == status
    assert capsys.readouterr() == ("", said)


def test_who_has_seen_enough_is_no_failure_whoever_makes_one_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            sys.exit(1)  # as rich and typer do

    assert in_a_child(lambda: run_program("program", command)) == 0
    assert ended(lambda: sys.exit(3)) == 3


def test_a_full_disk_behind_a_redirection_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        with open("/dev/full", "w") as full:
            print("something", file=full, flush=True)
        return 0

    assert in_a_child(lambda: run_program("program", command)) == 75
    assert capfd.readouterr().err == "program: cannot write: No space left on device; free some space where it goes\n"
    assert ended(raising(PermissionError(13, "Permission denied", "/x/key.pem"))) == 75
    assert capfd.readouterr().err == "program: /x/key.pem: Permission denied; run it as the user it belongs to\n"
    assert ended(raising(IsADirectoryError(21, "Is a directory", "/x/lock"))) == 75
    assert capfd.readouterr().err == "program: /x/lock: Is a directory; look at what is there\n"
    with pytest.raises(FileNotFoundError):  # a defect of ours
        run_program("program", raising(FileNotFoundError(2, "No such file", "name")))


def in_a_child(run: Callable[[], object]) -> int:
    """The exit status of ``run``, which may do as it likes with its standard output."""
    pid = os.fork()
    if not pid:
        try:
            run()
        except SystemExit as end:
            os._exit(int(str(end.code or 0)))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_closed_is_one_that_nobody_reads(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert ended(lambda: print("hello") or 3) == 3  # type: ignore[func-returns-value]
    getattr(sys, stream).close()


def test_what_a_terminal_has_no_character_for_is_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert ended(lambda: print("a…\udcff") or 0) == 0  # type: ignore[func-returns-value]
    assert narrow.buffer.getvalue() == b"a\\u2026\\udcff\n"  # type: ignore[attr-defined]


def test_a_module_of_our_own_that_is_missing_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError):
        run_program("program", raising(ModuleNotFoundError(name="learnae.absent")))
