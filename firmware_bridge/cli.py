"""``firmware-bridge``: which boards are plugged in. (The link itself is not part of this version.)"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import learnae

_BY_ID = Path("/dev/serial/by-id")  # names that stay with a board whichever port it is plugged into


def main(arguments: list[str] | None = None) -> None:
    """Entry point; the only place that exits."""
    parser = argparse.ArgumentParser(prog="firmware-bridge", description=__doc__)
    parser.add_argument("--version", action="version", version=learnae.__version__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    command = verbs.add_parser("list", help="serial ports by the names of their boards")
    command.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    ports = list_ports()
    if options.json:
        print(json.dumps(ports))
    else:
        for name, device in ports.items():
            print(f"{device}  {name}")
        if not ports:
            print("no board is plugged in", file=sys.stderr)
    sys.exit(0)


def list_ports(directory: Path = _BY_ID) -> dict[str, str]:
    """Device of each plugged-in board, by the board's name."""
    if not directory.is_dir():
        return {}
    return {entry.name: os.path.realpath(entry) for entry in sorted(directory.iterdir())}
