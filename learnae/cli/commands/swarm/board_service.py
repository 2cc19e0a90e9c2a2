"""``learnae join … --role agent --start``: an agent's service on a board, which asks with the code by itself."""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnae.cli.output import print_fields, print_json
from learnae.errors import ConfigurationError, TransportError
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.gate import MEMBER
from learnae.system.atomic_files import write_atomic
from learnae.system.credentials import read_credential
from learnae.system.paths import last_status

_CONFIGURATION, _STATE = Path("/etc/learnae"), Path("/var/lib/learnae")
_EXAMPLE_FILE = "/etc/learnae/recording.csv"  # in the configuration that is written at first
_SYSTEMD = Path("/run/systemd/system")
_HOMES = (Path("/root"), Path("/home"))
_LOOK_SECONDS = 0.2


def join_as_service(options: argparse.Namespace, code: InviteCode) -> int:
    """Install and start the service of an agent, and wait until it is a member.

    Raises ConfigurationError, TransportError if systemd does not start it.
    """
    name = options.name or options.role
    config, unit = _CONFIGURATION / f"agent-{name}.toml", f"learnae-agent@{name}.service"
    _check(options, config)
    code = _addressed(options, code)
    before = config.read_text() if config.exists() else ""
    _run([sys.executable, "-m", "agent", "install", name, "--swarm", "-"], f"{code.to_text()}\n")
    _write_source(options, config, before, code)
    _run(["systemctl", "daemon-reload"])
    _run(["systemctl", "enable", "--quiet", unit])
    _run(["systemctl", "restart", unit])
    status = _wait(_STATE / name / "peers" / name, options.wait)
    is_in = status.get("membership") == MEMBER
    fields = {
        "peer": status.get("peer", "-"),
        "swarm": str(code.swarm),
        "configuration": str(config),
        "service": unit,
        "standing": MEMBER if is_in else f"{status.get('membership') or 'starting'}; it goes on asking",
    }
    if options.json:
        print_json({**fields, "member": is_in})
    else:
        print_fields(fields)
    return 0


def _check(options: argparse.Namespace, config: Path) -> None:
    """Raise ConfigurationError unless a service could start now, and would find what it learns from."""
    if os.geteuid() or not _SYSTEMD.is_dir():
        raise ConfigurationError("an agent is started as a service, by root under systemd", "leave out --start")
    if options.config or options.ca_file:
        given = "--config" if options.config else "--ca-file"
        raise ConfigurationError(f"{given} of a service", f"leave it out, then edit {config}")
    if not options.data and not config.exists():
        remedy = f"give --data FILE; or learnae-agent install NAME --swarm CODE, then edit {config}"
        raise ConfigurationError("there is nothing to learn from yet", remedy)
    if options.data and any(map(options.data.resolve().is_relative_to, _HOMES)):
        raise ConfigurationError(f"services see no homes, and {options.data} is in one", f"copy it to {_CONFIGURATION}")


def _addressed(options: argparse.Namespace, code: InviteCode) -> InviteCode:
    """Return the code with the places and the login that the options name in place of its own."""
    given = (options.broker,) if options.broker else tuple(options.member)
    code = replace(code, addresses=given) if given else code
    if not options.user:
        return code
    if not options.password_file:
        raise ConfigurationError("--user without --password-file", "give both")
    password = read_credential(str(options.password_file.resolve()), "--password-file")
    return replace(code, password=(options.user, password))


def _write_source(options: argparse.Namespace, config: Path, before: str, code: InviteCode) -> None:
    text = config.read_text()
    if f'id = "{code.swarm}"' not in text:
        raise ConfigurationError(f"{config} names another swarm", "give another --name, or edit that file")
    if not options.data:
        return
    line = f"file = {json.dumps(str(options.data.resolve()), ensure_ascii=False)}"
    if line not in text:
        if before:
            raise ConfigurationError(
                f"{config} exists, and has another [source]", "leave out --data, or edit that file"
            )
        write_atomic(config, text.replace(f'file = "{_EXAMPLE_FILE}"', line).encode())


def _run(command: list[str], given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    last = (done.stderr.splitlines() or [""])[-1].strip()
    if done.returncode == os.EX_CONFIG:
        problem, _, remedy = last.removeprefix("learnae-agent: ").partition("; ")
        raise ConfigurationError(problem, remedy)
    if done.returncode:
        raise TransportError(f"{command[0]} {command[1]}: {last}", "see journalctl, then repeat the command")


def _wait(peer: Path, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (status := last_status(peer)).get("membership") != MEMBER and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return status
