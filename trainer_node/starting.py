"""``trainer-node start``: train here, or in the background.

Nothing of it needs what reads the command line of the other verbs: 3 MB that a trainer would keep as long as it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from learnae.basics import strict_json
from learnae.basics.memory import keep_freed
from learnae.config.loading import config_files, load_config
from learnae.errors import ConfigurationError, InUseError
from learnae.system.atomic_files import is_there
from learnae.system.logs import set_up_logging
from learnae.system.service import EXIT_CONFIGURATION, Service
from learnae.system.signals import abrupt
from trainer_node import lifecycle
from trainer_node.config import ROLE, TrainerConfig

if TYPE_CHECKING:
    from learnae.runtime.peer_service import Worker

Found = TypeVar("Found")

_PATHS = ("--config", "--data")
_USUAL_BYTES = 1 << 21  # of what a cycle makes and frees: held-out rows on their way through a small model
_HINT = """\
create a swarm:  learnae swarm create --preset wrist   (or --model MODEL.json --loss LOSS)
join it:         learnae join --data FILE, then trainer-node start
or just try:     trainer-node start --demo"""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What may follow ``trainer-node start``; each is called as its flag."""

    config: Path | None = None
    data: Path | None = None
    label: str | None = None
    swarm: str | None = None
    preset: str | None = None
    name: str | None = None
    demo: bool = False
    detach: bool = False
    verbose: bool = False
    json: bool = False

    @classmethod
    def read(cls, arguments: Sequence[str]) -> StartOptions | None:
        """Read ``--flag``, ``--flag value`` and ``--flag=value``; None where anything else is there, such as --help.

        >>> StartOptions.read(["--name=pump", "--verbose"])
        StartOptions(config=None, data=None, label=None, swarm=None, preset=None, name='pump', demo=False, \
detach=False, verbose=True, json=False)
        """
        switches = {f"--{field.name}": field.default is False for field in fields(cls)}
        found: dict[str, Any] = {}
        left = iter(arguments)
        for argument in left:
            flag, equals, value = argument.partition("=")
            is_switch = switches.get(flag)
            if not is_switch and not equals:
                value = next(left, "-")
            if is_switch is None or (is_switch and equals) or value.startswith("-"):
                return None
            found[flag.removeprefix("--")] = is_switch or (Path(value) if flag in _PATHS else value)
        return cls(**found)


def begin(options: StartOptions) -> int:
    """Train until stopped, in the foreground unless told otherwise; return the exit status."""
    with abrupt():
        from trainer_node.demo import check_demo  # noqa: PLC0415 - what trains, for which the other verbs have no use
        from trainer_node.preset_swarm import find_or_create  # noqa: PLC0415
        from trainer_node.wiring import build, load_configured  # noqa: PLC0415
    swarm, data = options.swarm, str(options.data) if options.data else None
    if options.demo:
        given = {"--data": data, "--label": options.label, "--swarm": swarm, "--preset": options.preset}
        check_demo(options.name, given)
    if options.preset is not None:
        if swarm is not None:
            raise ConfigurationError("--swarm and --preset both name a swarm", "give one of them")
        swarm = str(find_or_create(options.preset).directory)
    flags = {"data.file": data, "data.label": options.label, "swarm.id": swarm, "peer.name": options.name}
    if options.detach:
        return _detach(options, flags)
    set_up_logging(options.verbose)

    def read() -> TrainerConfig:
        return load_config(TrainerConfig, ROLE, options.config, flags)

    with abrupt():
        if options.demo:
            service = _demo_service(read)
        elif (settings := _configured(options, read())) is None:
            return EXIT_CONFIGURATION
        else:
            service = build(settings, read, load_configured)
    keep_freed(_USUAL_BYTES)
    return Service(service.work()).run()


def is_unit(config: Path | None, name: str | None) -> bool:
    """Return True if systemd's unit is meant: there is one, and no other trainer is named."""
    return config is None and name is None and lifecycle.has_unit()


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


def _configured(options: StartOptions, settings: TrainerConfig) -> TrainerConfig | None:
    """Return ``settings``; where there are none yet, print the first steps and return None."""
    from learnae.swarm.directory import swarms_here  # noqa: PLC0415

    if options.config or settings.swarm.id or swarms_here() or any(map(is_there, config_files(ROLE))):
        return settings
    print(_HINT, file=sys.stderr)
    return None


def _detach(options: StartOptions, flags: dict[str, str | None]) -> int:
    if is_unit(options.config, options.name) and not options.demo and not any(flags.values()):
        return lifecycle.systemctl("start")

    def start(own: TrainerConfig, name: str | None, *more: str) -> None:
        given = {
            "--config": options.config, "--data": flags["data.file"], "--label": flags["data.label"],
            "--swarm": flags["swarm.id"], "--name": name,
        }  # fmt: skip
        arguments = [part for option, value in given.items() if value for part in (option, str(value))]
        process = lifecycle.detach(["start", *arguments, *more], own.peer.directory(ROLE))
        shown = own.peer.name or ROLE
        said = f"running as process {process}; see: trainer-node status --name {shown}"
        print(strict_json.dumps({"process": process, "name": shown}) if options.json else said)

    settings = load_config(TrainerConfig, ROLE, options.config, flags)
    if options.demo:
        _first_free(settings, lambda own, _: start(own, own.peer.name, "--demo"))
        return 0
    configured = _configured(options, settings)
    if configured is None:
        return EXIT_CONFIGURATION
    start(configured, options.name)
    return 0
