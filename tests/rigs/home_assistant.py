"""A real Home Assistant at a broker: its core with the MQTT integration, in an environment that is made once."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from programs import clean_environment, finish, succeed

VERSION, PYTHON = "2025.4.4", "3.13"  # from 2025.5 on it wants 3.13.2, which few machines have
ROOT = Path(__file__).parents[2]
PACKAGES = (f"homeassistant=={VERSION}", "paho-mqtt==2.1.0")


def interpreter() -> Path:
    """Return the Python of the environment; makes it, half a gigabyte, below ``build``, or skips the test."""
    place = ROOT / "build" / f"home-assistant-{VERSION}"
    python, ready = place / "bin" / "python", place / ".ready"
    if not ready.exists():
        found = finish(ROOT / "scripts" / "find-python", PYTHON)
        if found.returncode:
            pytest.skip(f"Python {PYTHON} is not here")
        environment, uv = clean_environment(PYTHONPATH=""), shutil.which("uv")
        succeed(found.stdout.strip(), "-m", "venv", "--clear", place, env=environment)
        install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        succeed(*install, "--quiet", *PACKAGES, env=environment)
        ready.touch()
    return python


class HomeAssistant(Daemon):
    """Home Assistant at the broker of ``port`` on this machine; a context manager that ends it."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        directory.mkdir(exist_ok=True)
        self._python, self._port = interpreter(), port

    def start(self) -> None:
        program = Path(__file__).with_name("home_assistant_core.py")
        command = [self._python, program, self.directory, str(self._port)]
        with (self.directory / "log").open("ab") as log:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self._process = subprocess.Popen(command, env=clean_environment(PYTHONPATH=""), **pipes)
        self.look()

    def look(self) -> dict[str, Any]:
        """Return ``devices`` and, by their unique ids, ``entities``."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        assert said, self.log
        found: dict[str, Any] = json.loads(said)
        return found

    def stop(self) -> None:
        """Let it write what it keeps, and end."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=60) == 0, self.log
        self._process = None
