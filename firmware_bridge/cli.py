"""``firmware-bridge``: from a microcontroller's serial port to the agents of this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import learnae
from firmware_bridge.serial_link.port import list_ports, pins
from learnae.basics import strict_json
from learnae.cli.arguments import count
from learnae.cli.verbs import add_verbs
from learnae.system.logs import set_up_logging
from learnae.system.service import Service, Work, run_program

if TYPE_CHECKING:
    from firmware_bridge.config import BridgeConfig

_WHAT = "From a microcontroller's serial port to the agents of this machine: list, check, run, monitor."
_FORMATS = ("table", "json", "senml", "senml-cbor")


def main(arguments: list[str] | None = None) -> None:
    """Run the program; the only place that exits."""
    options = _parser().parse_args((sys.argv[1:] if arguments is None else arguments) or ["--help"])
    run_program("firmware-bridge", lambda: _run_verb(options))


def _run_verb(options: argparse.Namespace) -> int:
    set_up_logging(options.verbose)
    verbs = {"run": _run, "list": _list, "monitor": _monitor, "check": _check, "keys": _keys}
    return verbs[options.verb](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="firmware-bridge", description=_WHAT)
    parser.add_argument("--version", action="version", version=learnae.__version__)
    verbs = add_verbs(parser)
    for verb, text in (
        ("run", "bring a board's readings to agents, in the foreground"),
        ("list", "serial ports by the names of their boards"),
        ("monitor", "show what a running bridge brings, live"),
        ("check", "say what the board measures, or why it cannot be used"),
        ("keys", "every key of the configuration: what it may be, and its default"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--verbose", action="store_true", help="log everything")
        if verb != "run":
            command.add_argument("--json", action="store_true", help="for machines")
        if verb not in ("list", "keys"):
            command.add_argument("--config", type=Path, metavar="F", help="read this file instead of the usual ones")
        if verb in ("run", "check"):
            command.add_argument("--port", metavar="P", help="a device, or a board's name (see list)")
            command.add_argument("--baud", type=int, metavar="N", help="as in the firmware")
        if verb in ("run", "monitor"):
            command.add_argument("--socket", metavar="S", help="where agents listen")
        if verb == "monitor":
            command.add_argument("--format", choices=_FORMATS, help="table on a terminal, else json")
            command.add_argument("--count", type=count, default=0, metavar="N", help="end after N records")
        if verb == "keys":
            command.add_argument("wanted", nargs="?", default="", metavar="SECTION[.KEY]", help="only these")
    return parser


# what needs NumPy or draws is imported where it is used: `list` and `--help` start at once


def _config(options: argparse.Namespace) -> BridgeConfig:
    from firmware_bridge.config import ROLE, BridgeConfig  # noqa: PLC0415
    from learnae.config.loading import load_config  # noqa: PLC0415

    names = {"port.name": "port", "port.baud": "baud", "bridge.socket": "socket"}
    flags = {key: getattr(options, name, None) for key, name in names.items()}
    return load_config(BridgeConfig, ROLE, options.config, flags)


def _run(options: argparse.Namespace) -> int:
    from firmware_bridge.wiring import build  # noqa: PLC0415

    bridge = build(_config(options))

    def reload() -> None:
        bridge.dialect.wish_for(_config(options).board.rate)

    return Service(Work(bridge.step, bridge.drain, reload, bridge.summary)).run()


def _keys(options: argparse.Namespace) -> int:
    from firmware_bridge.config import BridgeConfig  # noqa: PLC0415
    from learnae.config.reference import print_keys  # noqa: PLC0415

    print_keys(BridgeConfig, options.wanted, options.json)
    return 0


def _list(options: argparse.Namespace) -> int:
    ports = list_ports()
    if options.json:
        print(strict_json.dumps(ports))
        return 0
    for name, device in ports.items():
        print(f"{device}  {name}")
    if not ports:
        print(f"no board is plugged in{pins()}", file=sys.stderr)
    return 0


def _monitor(options: argparse.Namespace) -> int:
    from firmware_bridge.monitor import monitor  # noqa: PLC0415

    shape = "json" if options.json else options.format or ("table" if sys.stdout.isatty() else "json")
    monitor(_config(options).bridge.path, shape, options.count)
    return 0


def _check(options: argparse.Namespace) -> int:
    from firmware_bridge.diagnosis import describe_board, report  # noqa: PLC0415
    from firmware_bridge.wiring import build_dialect, port_opener  # noqa: PLC0415

    config = _config(options)
    port = port_opener(config)()
    try:
        schema = describe_board(port, config.port.baud, build_dialect(config))
        found = report(port, config.port.baud, schema)
    finally:
        port.close()
    print(strict_json.dumps(found) if options.json else _as_text(found))
    return 0


def _as_text(found: Mapping[str, Any]) -> str:
    lines = {**found, "channels": ", ".join(f"{name} [{unit}]" for name, unit in found["channels"].items())}
    return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)
