"""Disks that take nothing: a real file system without room, and a place that is read-only."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a file system of ``size`` at ``place``; only root may mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    place.mkdir()
    if refused := _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)):
        pytest.skip(f"cannot mount a small disk here: {refused}")
    try:
        yield place
    finally:
        _run("umount", "-l", str(place))


def fill(disk: Path) -> Path:
    """Write until there is no room for another byte; returns the file that has it."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return filler


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Nothing below can be written: EROFS for root, who may mount, EACCES for others."""
    if os.geteuid() != 0:
        directories = [path for path in (place, *place.rglob("*")) if path.is_dir()]
        for path in directories:
            path.chmod(0o500)
        try:
            yield
        finally:
            for path in directories:
                path.chmod(0o700)
        return
    view = place.with_name(f"{place.name}-read-only")  # made so before it is put in place: no file may be open
    view.mkdir()
    if refused := _run("mount", "--bind", str(place), str(view)):
        pytest.skip(f"cannot mount here: {refused}")
    try:
        assert not _run("mount", "-o", "remount,bind,ro", str(view))
        assert not _run("mount", "--bind", str(view), str(place))
        yield
    finally:
        _run("umount", "-l", str(place))
        _run("umount", "-l", str(view))
        view.rmdir()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() or str(done.returncode) if done.returncode else ""
