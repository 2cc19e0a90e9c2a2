"""``trainer-node``: the peer on a workstation.

What trains is imported where it starts: the other verbs answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import learnae
from learnae.adapters.local.lock import end_holder
from learnae.basics import strict_json
from learnae.basics.headline import headline
from learnae.config.loading import load_config
from learnae.system.paths import KEY_FILE, LOCK_FILE, home, last_status, peers_here
from learnae.system.service import run_program
from learnae.text import significant
from trainer_node import lifecycle
from trainer_node.config import ROLE, TrainerConfig
from trainer_node.starting import StartOptions, begin, is_unit

# no markup: help looks like that of the other programs, also on a narrow terminal
app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)

_WORDS = {lifecycle.RUNNING: "running", lifecycle.STOPPED: "stopped"}

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Read this file instead of the usual ones.")]
DataFile = Annotated[Path | None, typer.Option("--data", help="What to train on: a table or .npz: docs/tasks.md.")]
Label = Annotated[str | None, typer.Option("--label", help="Column of the target; else data.label.")]
SwarmName = Annotated[str | None, typer.Option("--swarm", help="Id, name or directory of the swarm.")]
Preset = Annotated[
    str | None, typer.Option("--preset", help="Join the swarm of this preset; make it if there is none here.")
]
PeerName = Annotated[str | None, typer.Option("--name", help="Name of this peer on this machine.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(learnae.__version__)
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train with others on your own data."""


@app.command()
def start(
    config: ConfigFile = None,
    data: DataFile = None,
    label: Label = None,
    swarm: SwarmName = None,
    preset: Preset = None,
    name: PeerName = None,
    demo: Annotated[bool, typer.Option("--demo", help="Try it with the shipped recordings.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log everything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --detach: for machines.")] = False,
) -> None:
    """Train until stopped; in the foreground unless told otherwise."""
    raise typer.Exit(begin(StartOptions(config, data, label, swarm, preset, name, demo, detach, verbose, as_json)))


@app.command()
def stop(config: ConfigFile = None, name: PeerName = None, as_json: Json = False) -> None:
    """Save and end the trainer in the background."""
    stopped = end_holder(_directory(config, name) / LOCK_FILE)
    if not stopped and is_unit(config, name):
        if code := lifecycle.systemctl("stop"):
            raise typer.Exit(code)
        stopped = True
    if as_json:
        print(strict_json.dumps({"stopped": stopped}))
    elif stopped:
        print("stopped")
    else:
        print("not running", file=sys.stderr)


@app.command()
def status(config: ConfigFile = None, name: PeerName = None, as_json: Json = False) -> None:
    """Show how the trainer is, or all that are here; exit status 0 running, 3 stopped, 4 unknown."""
    if config is None and name is None and len(_directories()) > 1:
        list_trainers(as_json)
    code, said = lifecycle.status(_directory(config, name))
    if code != lifecycle.RUNNING and is_unit(config, name):
        code, said = lifecycle.unit_status()
    word = _WORDS.get(code, "unknown")
    if as_json:
        print(strict_json.dumps({"state": word, **said}))
    else:
        print(word)
        if code == lifecycle.RUNNING and "steps" in said:
            sentence = headline(said)
            print(f"  {sentence.text}" + (f" ({sentence.remedy})" if sentence.remedy else ""))
        for key, value in said.items():
            if value not in (None, "", {}):
                print(f"  {key}: {_shown(key, value)}")
    raise typer.Exit(code)


@app.command("list")
def list_trainers(as_json: Json = False) -> None:
    """List the trainers of this machine; exit status 0 if one runs, 3 if none does, 4 if that is not known."""
    found = {directory.name: lifecycle.status(directory) for directory in _directories()}
    if as_json:
        print(
            strict_json.dumps(
                [{"name": name, "state": _WORDS.get(code, "unknown"), **said} for name, (code, said) in found.items()]
            )
        )
    elif not found:
        print("there is none: join a swarm first, with learnae join", file=sys.stderr)
    else:
        from learnae.cli.output import console, fitting, shedding  # noqa: PLC0415 - rich, 4 MB
        from learnae.reports.peer_columns import score_columns  # noqa: PLC0415 - as above

        scores, scored = score_columns(
            [(_number(said, "accuracy"), _number(said, "r2"), _number(said, "mae")) for _, said in found.values()]
        )
        rows = [
            _row(name, _WORDS.get(code, "unknown"), said, of_it)
            for (name, (code, said)), of_it in zip(found.items(), scored, strict=True)
        ]
        columns = ["name", "state", ">process", ">steps", ">loss", *scores, "swarm"]
        console.print(fitting(shedding(f"trainers in {home()}", columns, rows, ["process", "swarm", "loss"])))
    codes = {code for code, _ in found.values()}
    raise typer.Exit(
        next((code for code in (lifecycle.RUNNING, lifecycle.UNKNOWN) if code in codes), lifecycle.STOPPED)
    )


@app.command()
def keys(
    wanted: Annotated[str, typer.Argument(metavar="[SECTION[.KEY]]", help="Only these.")] = "", as_json: Json = False
) -> None:
    """Print every key of the configuration: what it may be, and its default."""
    from learnae.config.reference import print_keys  # noqa: PLC0415

    print_keys(TrainerConfig, wanted, as_json)


@app.command()
def logs(
    config: ConfigFile = None,
    name: PeerName = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print what the trainer in the background has logged."""
    if is_unit(config, name):
        raise typer.Exit(lifecycle.journal(lines, follow))
    if follow:
        lifecycle.follow(_directory(config, name), lines)
    if said := lifecycle.last_lines(_directory(config, name), lines):
        print(said)


def main() -> NoReturn:
    """Run and exit."""
    run_program("trainer-node", partial(app, sys.argv[1:] or ["--help"], prog_name="trainer-node"))


def _shown(key: str, value: object) -> object:
    """Return a value of the status for people."""
    if key in ("time", "since") and isinstance(value, int):
        from learnae.cli.output import human_time  # noqa: PLC0415 - rich, which a trainer has no use for

        return human_time(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "; ".join(f"{name}: {_shown(name, of)}" for name, of in value.items()) if isinstance(value, dict) else value


def _row(name: str, state: str, said: Mapping[str, Any], scores: Sequence[str]) -> list[str]:
    from learnae.cli.output import short_cid  # noqa: PLC0415 - rich, which a trainer has no use for

    steps, process = said.get("steps"), said.get("process")
    shown = [f"{steps:,}" if isinstance(steps, int) else "-", significant(_number(said, "loss")), *scores]
    return [name, state, str(process or "-"), *shown, short_cid(str(said.get("swarm", "-")))]


def _number(said: Mapping[str, Any], key: str) -> float | None:
    return value if isinstance(value := said.get(key), float) else None


def _directories() -> list[Path]:
    """Return the directories of all trainers of this home, and of the configured one wherever it is."""
    roles = {path: last_status(path).get("role", ROLE) for path in peers_here() if (path / KEY_FILE).exists()}
    configured = _directory(None, None)
    found = {path for path, role in roles.items() if role == ROLE} | ({configured} if configured.is_dir() else set())
    return sorted(found)


def _directory(config: Path | None, name: str | None) -> Path:
    return load_config(TrainerConfig, ROLE, config, {"peer.name": name}).peer.directory(ROLE)
