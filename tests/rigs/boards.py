"""A microcontroller board for tests: real firmware, built with avr-gcc, on a simulated AVR (simavr)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.rigs.host_board import LIBRARY, ROOT, build

FIRMWARE = ROOT / "firmware_bridge" / "firmware"
EXAMPLE = FIRMWARE / "examples" / "avr"
NATIVE = Path(__file__).parents[1] / "native"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
AVR_FLAGS = ("-std=gnu99", "-Os", "-mcall-prologues", "-mrelax", "-ffunction-sections", "-DF_CPU=16000000UL")
BUTTON, HANG = 2, 3  # pins of port D in the example
MEMORY = {"atmega328p": 1024, "atmega2560": 3072}  # bytes for samples that wait: of a chip, or of a link's window


def build_example(mcu: str, memory: int = 128) -> Path:
    """Build the bare-metal example as an ELF file for ``mcu``, with ``memory`` bytes for samples that wait."""
    sources = [EXAMPLE / "main.c", LIBRARY / "learnae.c"]
    flags = (*AVR_FLAGS, *WARNINGS, f"-mmcu={mcu}", f"-DMEMORY={memory}", f"-I{LIBRARY}", "-Wl,--gc-sections")
    return build(f"node-{mcu}", ["avr-gcc", *flags, *sources], sources)


class SimulatedBoard:
    """The example on simavr, its serial port at ``device``; a context manager that ends it.

    All of a chip's memory is three or six seconds without a bridge; while one is only slow, the board stands still.
    """

    def __init__(self, directory: Path, mcu: str = "atmega328p", speed: float = 1.0) -> None:
        source = NATIVE / "simavr_board.c"
        runner = ["gcc", "-O2", "-I/usr/include/simavr", source, "-lsimavr", "-lelf"]
        self._command = [build("simavr_board", runner, [source]), mcu, build_example(mcu, MEMORY[mcu])]
        self._speed = speed
        self.device = directory / f"{mcu}-tty"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> SimulatedBoard:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Power on: the firmware starts, and ``device`` is there."""
        command = [*self._command, str(self.device), str(self._speed)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, **streams)
        assert self._process.stdout is not None
        assert "ready\n" in iter(self._process.stdout.readline, ""), "the simulator has not started"

    def unplug(self) -> None:
        """Power off: the firmware is gone with all its memory, and so is the device."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self.device.unlink(missing_ok=True)

    def pull(self, pin: int, low: bool) -> None:
        """Pull a pin of port D to ground, or let it go."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{'low' if low else 'high'} {pin}\n")
        self._process.stdin.flush()
