"""``trainer-node``: the peer on a workstation.

What trains is imported where it starts: the other verbs answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

import learnae
from learnae.adapters.local.lock import end_holder
from learnae.basics import strict_json
from learnae.basics.headline import headline
from learnae.config.loading import config_files, load_config
from learnae.errors import ConfigurationError, InUseError
from learnae.system.atomic_files import is_there
from learnae.system.logs import set_up_logging
from learnae.system.paths import KEY_FILE, LOCK_FILE, home, last_status, peers_here
from learnae.system.service import EXIT_CONFIGURATION, Service, run_program
from learnae.system.signals import abrupt
from learnae.text import significant
from trainer_node import lifecycle
from trainer_node.config import ROLE, TrainerConfig

if TYPE_CHECKING:
    from learnae.runtime.peer_service import Worker

Found = TypeVar("Found")

# no markup: help looks like that of the other programs, also on a narrow terminal
app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)

_WORDS = {lifecycle.RUNNING: "running", lifecycle.STOPPED: "stopped"}
_HINT = """\
create a swarm:  learnae swarm create --preset wrist   (or --model MODEL.json --loss LOSS)
join it:         learnae join --data FILE, then trainer-node start
or just try:     trainer-node start --demo"""

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
    with abrupt():
        from trainer_node.demo import check_demo  # noqa: PLC0415
        from trainer_node.preset_swarm import find_or_create  # noqa: PLC0415
        from trainer_node.wiring import build, load_configured  # noqa: PLC0415
    if demo:
        check_demo(name, {"--data": data, "--label": label, "--swarm": swarm, "--preset": preset})
    if preset is not None:
        if swarm is not None:
            raise ConfigurationError("--swarm and --preset both name a swarm", "give one of them")
        swarm = str(find_or_create(preset).directory)
    flags = {"data.file": str(data) if data else None, "data.label": label, "swarm.id": swarm, "peer.name": name}
    if detach:
        _detach(config, flags, demo, as_json)
        return
    set_up_logging(verbose)

    def read() -> TrainerConfig:
        return load_config(TrainerConfig, ROLE, config, flags)

    with abrupt():
        service = _demo_service(read) if demo else build(_configured(config, read()), read, load_configured)
    raise typer.Exit(Service(service.work()).run())


@app.command()
def stop(config: ConfigFile = None, name: PeerName = None, as_json: Json = False) -> None:
    """Save and end the trainer in the background."""
    stopped = end_holder(_directory(config, name) / LOCK_FILE)
    if not stopped and _is_unit(config, name):
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
    if code != lifecycle.RUNNING and _is_unit(config, name):
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
    if _is_unit(config, name):
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


def _first_free(settings: TrainerConfig, start: Callable[[TrainerConfig, int], Found]) -> Found:
    """Start the first person of the demo who is free, also if other processes start at the same moment."""
    from trainer_node.demo import demo_configs  # noqa: PLC0415

    for own, person in demo_configs(settings):
        with suppress(InUseError):
            return start(own, person)
    raise AssertionError  # demo_configs ends with an error of its own


def _demo_service(read: Callable[[], TrainerConfig]) -> Worker:
    from trainer_node.demo import demo_dataset  # noqa: PLC0415
    from trainer_node.wiring import build  # noqa: PLC0415

    def start(own: TrainerConfig, person: int) -> tuple[Worker, int]:
        return build(own, read, partial(demo_dataset, person)), person

    service, person = _first_free(read(), start)
    look = "learnae watch --swarm wrist-demo"  # also where there are other swarms
    print(f"demo: you are person {person} of 8; start more in other terminals, and see: {look}", file=sys.stderr)
    return service


def _configured(config: Path | None, settings: TrainerConfig) -> TrainerConfig:
    """Return ``settings``; where there are none yet, print the first steps and exit."""
    from learnae.swarm.directory import swarms_here  # noqa: PLC0415

    if config or settings.swarm.id or swarms_here() or any(map(is_there, config_files(ROLE))):
        return settings
    print(_HINT, file=sys.stderr)
    raise typer.Exit(EXIT_CONFIGURATION)


def _detach(config: Path | None, flags: dict[str, str | None], demo: bool, as_json: bool) -> None:
    if _is_unit(config, flags["peer.name"]) and not demo and not any(flags.values()):
        raise typer.Exit(lifecycle.systemctl("start"))

    def start(own: TrainerConfig, name: str | None, *more: str) -> None:
        options = {
            "--config": config, "--data": flags["data.file"], "--label": flags["data.label"],
            "--swarm": flags["swarm.id"], "--name": name,
        }  # fmt: skip
        arguments = [part for option, value in options.items() if value for part in (option, str(value))]
        process = lifecycle.detach(["start", *arguments, *more], own.peer.directory(ROLE))
        shown = own.peer.name or ROLE
        said = f"running as process {process}; see: trainer-node status --name {shown}"
        print(strict_json.dumps({"process": process, "name": shown}) if as_json else said)

    settings = load_config(TrainerConfig, ROLE, config, flags)
    if demo:
        _first_free(settings, lambda own, _: start(own, own.peer.name, "--demo"))
    else:
        start(_configured(config, settings), flags["peer.name"])


def _directory(config: Path | None, name: str | None) -> Path:
    return load_config(TrainerConfig, ROLE, config, {"peer.name": name}).peer.directory(ROLE)


def _is_unit(config: Path | None, name: str | None) -> bool:
    return config is None and name is None and lifecycle.has_unit()
