"""``learnae-agent``: the peer on a board."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import learnae
from agent.config import AgentConfig
from agent.ingestion.reader import FAILING
from agent.learning.engine_choice import why_no_training
from agent.learning.inference import read_results
from agent.learning.resources import Board
from agent.running import run_agent
from agent.wiring import ROLE, build_intake, give_label, probe_sources, write_inference
from learnae.basics import strict_json
from learnae.basics.memory import groups_of
from learnae.cli.arguments import count
from learnae.cli.verbs import Verbs, add_verbs
from learnae.config.loading import load_config
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.ports import Inference
from learnae.swarm.directory import Swarm, find_swarm
from learnae.system.atomic_files import check_target, write_atomic
from learnae.system.logs import set_up_logging
from learnae.system.paths import STATE_FILE
from learnae.system.service import run_program
from learnae.text import significant

if TYPE_CHECKING:
    from learnae.runtime.observer import Estimate

_PROBE_SECONDS = 3.0  # for one source to deliver something
_PERSONAL_HELP = "the model that serves this machine alone: nothing protects the rows in it"
_FIRST_STEPS = """\
first steps:
  learnae join --role agent manifest.cbor   a peer on this board
  learnae-agent check                       what the configured sources say
  learnae-agent run                         trains until Ctrl-C
"""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program; the only place that exits."""
    options = _parser().parse_args((sys.argv[1:] if arguments is None else arguments) or ["--help"])
    run_program("learnae-agent", lambda: _run_command(options))


def _run_command(options: argparse.Namespace) -> int:
    set_up_logging(options.verbose)
    status: int = options.command(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="learnae-agent",
        description="The peer on a board: collects what sensors say,\nand trains on it with others.",
        epilog=_FIRST_STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=learnae.__version__)
    verbs = add_verbs(parser)
    for verb, (run, text) in _VERBS.items():
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--config", type=Path, metavar="F", help="read this file instead of the usual ones")
        command.add_argument("--verbose", action="store_true", help="log everything")
        if verb != "run":
            command.add_argument("--json", action="store_true", help="for machines")
        _add_own(command, verb)
        command.set_defaults(command=run)
    _add_keys(verbs)
    _add_install(verbs)
    return parser


def _add_keys(verbs: Verbs) -> None:
    command = verbs.add_parser("keys", help="every key of the configuration: what it may be, and its default")
    command.add_argument("wanted", nargs="?", default="", metavar="SECTION[.KEY]", help="only these")
    command.add_argument("--verbose", action="store_true", help="log everything")
    command.add_argument("--json", action="store_true", help="for machines")
    command.set_defaults(command=_keys)


def _keys(options: argparse.Namespace) -> int:
    from learnae.config.reference import print_keys  # noqa: PLC0415 - an agent that runs has no use for it

    print_keys(AgentConfig, options.wanted, options.json)
    return 0


def _add_install(verbs: Verbs) -> None:
    command = verbs.add_parser("install", help="write systemd's units and first configurations")
    command.add_argument("names", nargs="*", metavar="NAME", help="of the agents here (board)")
    command.add_argument("--bridge", action="append", default=[], metavar="NAME", help="a serial board, too")
    command.add_argument("--trainer", action="store_true", help="a trainer, too")
    swarm = "an invite code for one peer, - to read it from standard input; or manifest or directory of an open swarm"
    command.add_argument("--swarm", default="", metavar="S", help=swarm)
    command.add_argument("--root", type=Path, default=Path("/"), metavar="D", help="write below D: for images")
    programs = "where the units find the programs (where this one is)"
    command.add_argument("--programs", type=Path, metavar="D", help=programs)
    command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    command.add_argument("--verbose", action="store_true", help="log everything")
    command.add_argument("--json", action="store_true", help="for machines")
    command.set_defaults(command=_install)


def _install(options: argparse.Namespace) -> int:
    from agent.install import install  # noqa: PLC0415 - an agent that runs has no use for it

    return install(options)


def _add_own(command: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments that only this verb takes."""
    if verb == "export":
        command.add_argument("file", type=Path, metavar="FILE.tflite")
        command.add_argument("--int8", action="store_true", help="in int8, calibrated with own rows: about a quarter")
        command.add_argument("--swarm", metavar="S", help="id, name or directory; not needed if one is configured")
        command.add_argument("--version", metavar="V", help="one that this agent has kept: best, v1, ...")
        command.add_argument("--personal", dest="version", action="store_const", const="personal", help=_PERSONAL_HELP)
        command.add_argument("--weights-only", action="store_true", help="with --int8: nothing of own rows goes in")
    elif verb == "label":
        command.add_argument("label", nargs="?", default="", metavar="CLASS", help="none: they are unlabelled again")
        command.add_argument("--for", dest="seconds", type=float, metavar="S", help="seconds that it holds")
    elif verb == "results":
        command.add_argument("-n", "--count", type=count, default=10, help="how many")


def _run(options: argparse.Namespace) -> int:
    return run_agent(options.config)


def _check(options: argparse.Namespace) -> int:
    config = load_config(AgentConfig, ROLE, options.config)
    manifest = find_swarm(config.swarm.id).manifest
    dataset = Dataset(manifest.model, manifest.objective)
    intake = build_intake(config, manifest, dataset)
    collector = intake.collector
    collector.collect()
    directory = config.peer.directory(ROLE)
    sources = {name: source.status() for name, source in intake.recordings.items()}
    sources |= probe_sources(config, manifest, intake.names, _PROBE_SECONDS)
    report = {
        "swarm": str(manifest.swarm),
        "model": f"{manifest.model.count} parameters",
        "only_summaries": why_no_training(manifest, config.train.engine, config.resources, Board(groups=groups_of())),
        "samples_now": collector.samples,
        "training_rows_now": len(dataset.train),
        "holdout_rows_now": len(dataset.holdout),
        "skipped_rows": dataset.skipped,
        "sources": sources,
        "unknown_labels": intake.names.unknown_names,
        "results": [result.fields() for result in read_results(directory, 3)],
        "state": str(directory),
    }
    _print(report, options.json)
    return int(any(source["state"] == FAILING for source in sources.values()))


def _label(options: argparse.Namespace) -> int:
    config = load_config(AgentConfig, ROLE, options.config)
    give_label(config, options.label, options.seconds)
    if options.json:
        print(strict_json.dumps({"label": options.label or None, "seconds": options.seconds}))
    else:
        until = f" for {options.seconds:g} s" if options.seconds else ", until the next label"
        print(f"readings are {options.label or 'unlabelled'} from now on{until}")
    return 0


def _results(options: argparse.Namespace) -> int:
    config = load_config(AgentConfig, ROLE, options.config)
    results = read_results(config.peer.directory(ROLE), options.count)
    if options.json:
        print(strict_json.dumps([result.fields() for result in results]))
        return 0
    if not results:
        print("no results yet: the model judges each window while learnae-agent run is at work", file=sys.stderr)
    for result in results:
        print(f"{_when(result)}  {_said(result)}")
    return 0


def _when(result: Inference) -> str:
    """Return date and time; seconds where they are all that is known."""
    if not result.dated:
        return f"{result.time:.2f} s (undated)"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.time))


def _said(result: Inference) -> str:
    """Return what a result says, by what it has: a class, an anomaly score, a forecast, or a value."""
    score = significant(result.score)
    if result.label is not None:
        return f"{result.label}, probability {score}"
    if result.threshold is not None:
        return f"{'ANOMALY' if result.anomaly else 'normal'}, score {score}, threshold {significant(result.threshold)}"
    if result.no_threshold:
        return f"score {score}, no threshold: {result.no_threshold}"
    return f"{result.forecast}, forecast {score}" if result.forecast else score


def _export(options: argparse.Namespace) -> int:
    from agent.learning.calibration import calibration_rows  # noqa: PLC0415 - an agent that runs has no use for these
    from learnae.peer.learning.versions import PERSONAL  # noqa: PLC0415
    from learnae.runtime.observer import published_spent  # noqa: PLC0415
    from learnae.swarm.model_card import card, shown_by, with_card  # noqa: PLC0415

    check_target(options.file, [".tflite"])
    if options.weights_only and not options.int8:
        raise ConfigurationError("--weights-only says how to write int8", "add --int8")
    config = load_config(AgentConfig, ROLE, options.config, {"swarm.id": options.swarm})
    swarm, directory = find_swarm(config.swarm.id), config.peer.directory(ROLE)
    manifest = swarm.manifest
    estimate = _estimate(swarm, directory, options.version)
    calibrated = options.int8 and not options.weights_only
    rows = calibration_rows(config, manifest, directory) if calibrated else None
    program = write_inference(manifest.definition, estimate.vector, options.int8, rows)
    loss = len(program) - len(write_inference(manifest.definition, estimate.vector, False)) if options.int8 else 0
    facts: dict[str, Any] = card(manifest, published_spent(swarm.directory), options.version == PERSONAL)
    data = with_card(program, facts)
    write_atomic(options.file, data)
    if not options.json:
        facts = {**{name: facts[name] for name in ("swarm", "input", "output")}, "card": shown_by(options.file)}
    report = {
        "file": str(options.file),
        "parameters": manifest.model.count,
        "published": estimate.age(),
        "bytes": len(data),
        **_quantisation(options.int8, rows),
        **({"size": f"{loss} bytes more than in float32, as the model is small: leave out --int8"} if loss > 0 else {}),
        **facts,
    }
    _print(report, options.json)
    return 0


def _estimate(swarm: Swarm, directory: Path, version: str | None) -> Estimate:
    """Return this agent's estimate, or a kept one; where none has run, that of the peers whose messages are here."""
    from learnae.runtime.observer import estimate_of, kept_estimate, published_estimate  # noqa: PLC0415 - as above

    if version:
        return kept_estimate(directory, swarm.manifest, version)
    if (directory / STATE_FILE).exists():
        return estimate_of(directory, swarm.manifest)
    return published_estimate(swarm.directory)


def _quantisation(int8: bool, rows: NDArray[np.float32] | None) -> dict[str, Any]:
    """Return how the file is quantised, in the field's words: it follows from what there was to calibrate with."""
    if not int8:
        return {"quantisation": "none", "weights": "float32", "activations": "float32"}
    if rows is not None and len(rows):
        kinds = {"quantisation": "full-integer", "weights": "int8", "activations": "int8"}
        return {**kinds, "calibration_rows": len(rows)}
    kinds = {"quantisation": "dynamic-range", "weights": "int8", "activations": "float32"}
    note = "no rows to calibrate with: run the agent until it has some, then export again for int8 activations"
    return kinds if rows is None else {**kinds, "note": note}


def _print(report: Mapping[str, Any], as_json: bool) -> None:
    print(strict_json.dumps(report) if as_json else "\n".join(_lines(report)))


def _lines(report: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield the lines of ``report`` that say something, for people; the fields of a part are indented below it."""
    for name, value in report.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            for item in value:
                yield from _lines({name: item}, indent)
        elif value not in ("", None, {}):
            yield f"{indent}{name}: {value}"


_VERBS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "run": (_run, "collect, train and share, in the foreground"),
    "check": (_check, "check configuration, sources and data; exit status 1 if a source fails"),
    "label": (_label, "say what the readings are from now on"),
    "results": (_results, "the last things that the swarm's model has said of this machine's readings"),
    "export": (
        _export,
        "write the swarm's model as a .tflite file: as this agent estimates it, or where none ran, all peers",
    ),
}
