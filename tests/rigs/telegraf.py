"""A real Telegraf, built once from its Go module with the few plugins that read what peers publish."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from programs import finish, succeed, wait_for

VERSION = "1.37.2"
TAGS = "custom,inputs.mqtt_consumer,outputs.file,parsers.json,parsers.xpath,parsers.value,serializers.json"
_GO = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"])


def program() -> Path:
    """Return the program; builds it beside the other engines, or skips the test where there is no Go for that."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = (
        Path(os.environ.get("LEARNAE_ENGINES") or cache / "learnae" / "engines") / f"telegraf-{VERSION}" / "telegraf"
    )
    if built.exists():
        return built
    go = shutil.which("go", path=_GO)
    if go is None:
        pytest.skip("program 'go' is not on PATH: it builds Telegraf")
    fetched = finish(go, "mod", "download", "-json", f"github.com/influxdata/telegraf@v{VERSION}", cwd=Path.home())
    if fetched.returncode:
        pytest.skip(f"Telegraf {VERSION} cannot be had here: {fetched.stdout}{fetched.stderr}")
    new = built.with_suffix(".new")
    frugal = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-p=1 -buildvcs=false"}
    command = (go, "build", "-tags", TAGS, "-ldflags", "-s -w", "-o", new, "./cmd/telegraf")
    succeed("nice", *command, cwd=json.loads(fetched.stdout)["Dir"], env=frugal, timeout=1800)
    new.rename(built)
    return built


class Telegraf(Daemon):
    """Writes what ``inputs`` of its configuration read to a file; a context manager that ends it."""

    def __init__(self, directory: Path, inputs: str) -> None:
        super().__init__(directory)
        directory.mkdir(exist_ok=True)
        self._program, self._found = program(), directory / "found.json"
        output = f'[[outputs.file]]\nfiles = ["{self._found}"]\ndata_format = "json"\njson_timestamp_units = "1ms"\n'
        agent = '[agent]\nflush_interval = "1s"\nomit_hostname = true\n'
        (directory / "telegraf.conf").write_text(agent + inputs + output)
        self._inputs = inputs.count("[[inputs.mqtt_consumer]]")

    def start(self) -> None:
        self._launch([str(self._program), "--config", str(self.directory / "telegraf.conf")])
        wait_for(self._listens, "Telegraf to listen")

    def _listens(self) -> bool:
        self._assert_runs()
        return self.log.count("Connected [") >= self._inputs

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """Return all metrics of that name so far, with ``fields``, ``tags`` and ``timestamp`` (ms)."""
        text = self._found.read_text() if self._found.exists() else ""
        complete = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [metric for metric in complete if metric["name"] == name]
