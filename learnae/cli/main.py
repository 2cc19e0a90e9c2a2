"""``learnae``: make, join, look at and export swarms."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NoReturn

import learnae
from learnae.cli.arguments import count, place, seconds, span
from learnae.cli.commands.home.copies import backup, restore
from learnae.cli.commands.home.peers_here import leave, rename
from learnae.cli.commands.home.place import move
from learnae.cli.commands.keep.anchor import DEFAULT_NODE, anchor
from learnae.cli.commands.keep.blocks import blocks
from learnae.cli.commands.keep.export import export
from learnae.cli.commands.keep.rollback import rollback
from learnae.cli.commands.look.dashboard import dashboard
from learnae.cli.commands.look.doctor import doctor
from learnae.cli.commands.look.log import log
from learnae.cli.commands.look.peers import peers
from learnae.cli.commands.look.summary import summary
from learnae.cli.commands.look.versions import versions
from learnae.cli.commands.look.watch import watch
from learnae.cli.commands.members.bans import ban, unban, unmerge
from learnae.cli.commands.members.invites import invite, uninvite
from learnae.cli.commands.members.key import key
from learnae.cli.commands.members.members import members
from learnae.cli.commands.members.votes import admit, revoke
from learnae.cli.commands.simulate.simulate import add_arguments as add_simulation_arguments
from learnae.cli.commands.simulate.simulate import simulate
from learnae.cli.commands.swarm.create import create
from learnae.cli.commands.swarm.definition import MEMBERSHIPS, SETTINGS, USUAL_MEMBERSHIP
from learnae.cli.commands.swarm.features import add_parser as add_features_arguments
from learnae.cli.commands.swarm.features import features
from learnae.cli.commands.swarm.join import join
from learnae.cli.commands.swarm.vouching import code_to_ask
from learnae.cli.completion import SHELLS, script
from learnae.cli.progress import keep_quiet
from learnae.cli.verbs import Verbs, add_verbs
from learnae.config.sections import BROKER_URLS, MqttSection
from learnae.membership.codes.invite_code import is_code
from learnae.membership.records import ANY_ROLE, INVITE_ROLES, MAX_USES
from learnae.models import optimisers
from learnae.models.losses import LOSSES
from learnae.runtime.homes import leave_to_owner
from learnae.swarm.presets import PRESETS
from learnae.system.service import run_program

_SPOKEN = re.compile(r"\s*[0-9]{1,2}[-\s]+[A-Za-z]+[-\s]+[A-Za-z]+\s*")  # 4-orbit-piano
_FIRST_STEPS = """\
first steps:
  learnae swarm create --preset wrist    what is trained, and how
  learnae join --data FILE               a peer on this machine, and its data
  trainer-node start                     trains until Ctrl-C
  learnae watch                          who is here, how good, what moved

without data of your own: trainer-node start --demo
"""

_GROUPS = {
    "start here": ("swarm", "features", "join", "doctor"),
    "look": ("peers", "watch", "dashboard", "report", "log", "summary", "contributions", "audit"),
    "the model": ("evaluate", "versions", "export", "export-metrics", "rollback"),
    "members": (
        *("members", "invite", "uninvite", "key", "admit", "revoke"),
        *("ban", "unban", "unmerge"),
    ),
    "upkeep": ("backup", "restore", "move", "rename", "leave", "blocks", "anchor", "completion"),
    "try it out": ("simulate",),
}

_PRESETS = """\
presets:
  wrist        which of seven shoulder exercises, from a wrist's motion at 50 Hz
  wrist-cnn    the same from raw windows
  hepmass      particle collisions, 27 features: signal or background (UCI)
  thermal      how warm a board is, without labels: what is unusual stands out
"""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit: the only place that does."""
    options = _parser().parse_args((sys.argv[1:] if arguments is None else arguments) or ["--help"])
    run_program("learnae", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    keep_quiet(options.json)
    try:
        status: int = options.command(options)
    finally:
        leave_to_owner()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="learnae",
        description="Make, join, look at and export swarms:\npeers that train one model, each on data of its own.",
        epilog=_FIRST_STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=learnae.__version__)
    verbs = add_verbs(parser, groups=_GROUPS)
    _add_swarm(verbs)
    _add_features(verbs)
    _add_join(verbs)
    _add_members(verbs)
    _add_looking(verbs)
    _add_measuring(verbs)
    _add_keeping(verbs)
    _add_moving(verbs)
    command = verbs.add_parser("simulate", help="a whole swarm in this process, in virtual time")
    add_simulation_arguments(command)
    _finish(command, simulate)
    command = verbs.add_parser("completion", help="a script that lets a shell complete verbs, options and files")
    command.add_argument("shell", choices=SHELLS)
    _finish(command, _complete)
    command = verbs.add_parser("doctor", help="what is installed and reachable, and what to do about the rest")
    _finish(command, doctor)
    return parser


def _add_swarm(verbs: Verbs) -> None:
    group = add_verbs(verbs.add_parser("swarm", help="create a swarm"), "action")
    command = group.add_parser(
        "create",
        help="from a preset or a Keras model",
        epilog=_PRESETS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--preset", choices=PRESETS, metavar="P", help="a ready-made swarm, see below")
    what.add_argument("--model", type=place, metavar="F", help="JSON or .keras file of a Keras model")
    what.add_argument(
        "--parameters", type=place, metavar="F", help=".npz of a model's weights that programs of your own train"
    )
    command.add_argument("--loss", choices=LOSSES, metavar="L", help=f"for --model: {', '.join(LOSSES)}")
    rules = f"for --model: {', '.join(optimisers.NAMES)} (default: {optimisers.USUAL})"
    command.add_argument("--optimiser", choices=optimisers.NAMES, metavar="O", help=rules)
    rate = f"for --model (default: {', '.join(f'{name} {value}' for name, value in optimisers.RATES.items())})"
    command.add_argument("--learning-rate", type=float, metavar="X", help=rate)
    command.add_argument("--classes", metavar="A,B,...", help="names of the classes, for --model")
    command.add_argument(
        "--columns",
        metavar="C",
        help="for --model: a table's features in the model's order: names A,B,..., or a table with these",
    )
    command.add_argument(
        "--features", metavar="F", help="for --model: what is made of samples, a preset's name or a JSON file"
    )
    command.add_argument(
        "--membership",
        choices=MEMBERSHIPS,
        help=f"who may speak: by invite, by votes of members, or all who get here (default: {USUAL_MEMBERSHIP})",
    )
    command.add_argument("--votes", type=count, metavar="M", help="of members that remove one, or vouch for one")
    founder = "a member from the beginning besides this one, from learnae key on its machine; may be repeated"
    command.add_argument("--founder", action="append", default=[], metavar="F", help=founder)
    command.add_argument("--name", help="of the swarm (default: the preset's, or the model file's)")
    for flag, (_, kind, explained) in SETTINGS.items():
        command.add_argument(
            flag, type=kind, metavar="N" if kind is int else "X" if kind is float else "C", help=explained
        )
    command.add_argument(
        "--from", type=place, dest="file", metavar="F", help="a TOML file with all this: docs/tasks.md"
    )
    command.add_argument("--directory", type=place, metavar="D", help="where the peers of this machine share it")
    own = command.add_argument_group("a peer of this machine at once, as with learnae join")
    own.add_argument("--data", type=place, metavar="F", help="what it trains on")
    _add_running(own)
    _add_links(command, "of that peer: goes into its configuration", "where the broker wants one")
    _finish(command, create)


def _add_features(verbs: Verbs) -> None:
    command = verbs.add_parser(
        "features", help="measure a recording: rate, gaps, classes, ranges; features that fit it"
    )
    command.add_argument("file", type=place, help="a table with a column for each channel")
    add_features_arguments(command)
    command.add_argument("--out", type=place, metavar="F", help="write the features here, for swarm create --features")
    _finish(command, features)


def _add_join(verbs: Verbs) -> None:
    command = verbs.add_parser("join", help="make a peer: its key and its configuration")
    which = "an invite code, or its id, name, directory or a copy of its manifest.cbor; not needed if there is only one"
    command.add_argument("swarm", nargs="?", default="", help=which)
    command.add_argument("--role", choices=("trainer", "agent"), default="trainer")
    command.add_argument("--name", help="of the peer on this machine")
    command.add_argument("--data", type=place, metavar="F", help="what it trains on; a table is looked into at once")
    command.add_argument("--label", metavar="C", help="the column of a table that holds the labels (default: label)")
    command.add_argument("--config", type=place, metavar="F", help="write the configuration here")
    accept = "what its definition asks for though it tells rows: exact_frames, raw_windows, foreign_start"
    command.add_argument("--accept", default="", metavar="A,B,...", help=f"{accept} (docs/privacy.md)")
    _add_running(command)
    group = command.add_argument_group(
        "with an invite code", "LRN1… or 4-orbit-piano, from learnae invite on a member's machine"
    )
    group.add_argument("--wait", type=seconds, default=60.0, metavar="S", help="for a member, at most (default: 60)")
    vouched = command.add_argument_group("where members vouch", "with the swarm's id or manifest, and --broker, or:")
    member = "http://HOST:PORT of a member that serves, or https://HOST:PORT/PEER; may be repeated"
    vouched.add_argument("--member", action="append", default=[], metavar="URL", help=member)
    _add_links(command, "goes into the configuration; a code names its broker itself", "with a code: you are asked")
    _finish(command, _join)


def _add_running(command: argparse._ActionsContainer) -> None:
    command.add_argument("--lan", action="store_true", help="let others of the network reach it: it opens a port")
    command.add_argument("--start", action="store_true", help="start the peer in the background")


def _add_links(command: argparse.ArgumentParser, about: str, about_password: str) -> None:
    group = command.add_argument_group("over MQTT", about)
    group.add_argument("--broker", default="", metavar="URL", help=BROKER_URLS)
    group.add_argument("--user", default="", metavar="U", help="where the broker wants one")
    group.add_argument("--password-file", type=place, metavar="F", help=about_password)
    group.add_argument("--ca-file", type=place, metavar="F", help="what signed the broker's certificate")
    group.add_argument("--prefix", default=MqttSection().prefix, metavar="P", help="of the members' topics")


def _join(options: argparse.Namespace) -> int:
    code = None
    if not is_code(options.swarm) and not _SPOKEN.fullmatch(options.swarm) and not (code := code_to_ask(options)):
        return join(options)
    from learnae.cli.commands.swarm.join_by_code import join_by_code  # noqa: PLC0415 - brings the adapters of MQTT

    return join_by_code(options, code)


def _add_members(verbs: Verbs) -> None:
    command = verbs.add_parser("members", help="who may speak in a swarm, who waits, and open invites")
    viewer = "write a key with which learnae watch shows the swarm on a machine that is no member"
    command.add_argument("--viewer-key", type=place, metavar="F", help=viewer)
    _finish(_with_swarm(command), members)
    command = verbs.add_parser("invite", help="let another machine join: prints a code, once")
    command.add_argument(
        "--uses",
        type=int,
        choices=range(1, MAX_USES + 1),
        default=1,
        metavar="N",
        help=f"joins, 1 (default) to {MAX_USES}",
    )
    command.add_argument("--expires", type=span, default="24h", metavar="T", help="30m, 24h (default), 7d, ...")
    command.add_argument("--role", choices=INVITE_ROLES, default=ANY_ROLE, help="of who comes in")
    where = "where this swarm is met: a broker, a gateway, ... (default: the configured broker); up to three"
    command.add_argument("--address", action="append", default=[], metavar="URL", help=where)
    login = "put the broker's user and password into the code, too: who reads it can use the broker"
    command.add_argument("--with-password", action="store_true", help=login)
    spoken = "print three words in its place, with which one machine of this network joins, within ten minutes"
    command.add_argument("--spoken", action="store_true", help=spoken)
    _finish(_with_swarm(command), invite)
    command = verbs.add_parser("key", help="a peer's key before it is in a swarm, to found one with")
    command.add_argument("--name", help="of the peer on this machine (default: trainer)")
    _finish(command, key)
    command = verbs.add_parser("uninvite", help="take an invite back")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("invite", nargs="?", default="", metavar="INVITE", help="the end of its name: learnae members")
    which.add_argument("--all", action="store_true", help="all that are open")
    _finish(_with_swarm(command), uninvite)
    who = "its name, or the begin of its key"
    command = verbs.add_parser("revoke", help="vote that a member is removed")
    command.add_argument("peer", metavar="PEER", help=who)
    _finish(_with_swarm(command), revoke)
    command = verbs.add_parser("admit", help="vote for a peer that wants to come in, or back")
    command.add_argument("peer", metavar="PEER", help=who)
    _finish(_with_swarm(command), admit)
    _add_bans(verbs, who)


def _add_bans(verbs: Verbs, who: str) -> None:
    command = verbs.add_parser("ban", help="merge nothing of a peer on this machine from now on")
    command.add_argument("peer", metavar="PEER", help=who)
    command.add_argument("--why", default="", metavar="TEXT", help="for those who ask later: learnae peers shows it")
    _finish(_with_swarm(command), ban)
    command = verbs.add_parser("unban", help="merge what that peer publishes again")
    command.add_argument("peer", metavar="PEER", help=who)
    _finish(_with_swarm(command), unban)
    command = verbs.add_parser("unmerge", help="ban a peer, and go back to the last model before it was merged")
    command.add_argument("peer", metavar="PEER", help=who)
    command.add_argument("--why", default="", metavar="TEXT", help="as with ban")
    _finish(_with_swarm(command), unmerge)


def _complete(options: argparse.Namespace) -> int:
    print(script(options.shell, _parser()), end="")
    return 0


def _add_looking(verbs: Verbs) -> None:
    command = verbs.add_parser("peers", help="who is in the swarm")
    _finish(_with_swarm(command), peers)
    command = verbs.add_parser("log", help="the tangle, newest message first")
    command.add_argument("-n", "--count", type=count, default=20, help="how many messages")
    _finish(_with_swarm(command), log)
    command = verbs.add_parser("summary", help="what peers tell of their rows, and how much of it is noise")
    command.add_argument("peer", nargs="?", default="", metavar="PEER", help="only this one's: a name, or its key")
    command.add_argument("--data", type=place, metavar="F", help="what would be sent of this file; nothing is")
    _finish(_with_swarm(command), summary)
    command = verbs.add_parser("watch", help="a live table of the swarm")
    command.add_argument("--every", type=seconds, default=1.0, metavar="S", help="seconds between two looks")
    command.add_argument("--rounds", type=count, default=0, metavar="N", help="stop after so many looks")
    _add_broker(command)
    _finish(_with_swarm(command), watch)
    command = verbs.add_parser("dashboard", help="the address of a running peer's page in the browser, with a token")
    command.add_argument("--peer", metavar="P", help="whose; not needed if only one shows a page here")
    command.add_argument("--open", action="store_true", help="open it in the browser")
    _finish(command, dashboard)
    command = verbs.add_parser("audit", help="what others could compute of rows from here, by trying it: sends nothing")
    which = "its id, name, directory or a copy of its manifest.cbor; not needed if there is only one"
    command.add_argument("swarm", nargs="?", default="", help=which)
    command.add_argument("--data", type=place, metavar="F", help="rows to try on (default: the demo's, or any)")
    command.add_argument("--label", metavar="C", help="the column of a table that holds the labels (default: label)")
    command.add_argument("--seconds", type=seconds, default=5.0, metavar="S", help="for each trial (default: 5)")
    watched = "collect what peers of this machine publish meanwhile (default: what is here)"
    command.add_argument("--watch", type=seconds, default=0.0, metavar="S", help=watched)
    command.add_argument("--picture", type=place, metavar="F", help="draw it, as .svg")
    _finish(command, _audit)
    command = verbs.add_parser("versions", help="the models that the peers of this machine have kept")
    command.add_argument("--peer", metavar="P", help="only this one's")
    _finish(command, versions)


def _add_measuring(verbs: Verbs) -> None:
    command = verbs.add_parser("contributions", help="how useful each peer's weights are to the others, as these say")
    command.add_argument("--peer", metavar="P", help="as this peer of this machine has heard")
    command.add_argument("--picture", type=place, metavar="F", help="draw it, as .png")
    _finish(_with_swarm(command), _contributions)
    command = verbs.add_parser("evaluate", help="how good a model is on the rows of a file: they stay here")
    command.add_argument("--data", type=place, required=True, metavar="F", help="rows that no peer has trained on")
    command.add_argument("--label", metavar="C", help="the column of a table that holds the labels (default: label)")
    _add_which_model(command)
    command.add_argument("--picture", type=place, metavar="F", help="draw it, as .png")
    _finish(_with_swarm(command), _evaluate)
    command = verbs.add_parser("report", help="a page about a swarm: peers, curves, versions, in one file")
    command.add_argument(
        "--output", type=place, default=Path("learnae-report"), metavar="D", help="where (default: learnae-report)"
    )
    command.add_argument("--peer", metavar="P", help="only about this peer of this machine")
    command.add_argument(
        "--data", type=place, metavar="F", help="also how good the model is on these rows: learnae evaluate"
    )
    command.add_argument("--label", metavar="C", help="the column of a table that holds the labels (default: label)")
    _finish(_with_swarm(command), _report)
    command = verbs.add_parser("export-metrics", help="figures over time, as a table or for TensorBoard")
    form = command.add_mutually_exclusive_group(required=True)
    form.add_argument("--csv", type=place, metavar="F", help="a table with a row a point")
    form.add_argument("--tensorboard", type=place, metavar="D", help="a directory with a run a peer")
    command.add_argument("--peer", metavar="P", help="only this one's: its name, or the begin of its key")
    _finish(_with_swarm(command), _export_metrics)


def _add_broker(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("over MQTT", "from topics alone; no swarm and no key is needed here")
    group.add_argument("--broker", default="", metavar="URL", help=BROKER_URLS)
    group.add_argument("--user", default="", metavar="U")
    for name in ("password", "ca", "cert", "key"):
        group.add_argument(f"--{name}-file", default="", metavar="F")
    group.add_argument(
        "--client-id", default="", metavar="I", help="where the broker demands one; by default a new one"
    )
    group.add_argument("--prefix", default=MqttSection().prefix, metavar="P", help="of all topics")
    viewer = "opens what a sealed swarm shows: learnae members --viewer-key FILE makes it"
    group.add_argument("--viewer-key", type=place, metavar="F", help=viewer)


def _contributions(options: argparse.Namespace) -> int:
    from learnae.cli.commands.measure.contributions import contributions  # noqa: PLC0415 - brings models

    return contributions(options)


def _evaluate(options: argparse.Namespace) -> int:
    from learnae.cli.commands.measure.evaluate import evaluate_file  # noqa: PLC0415 - brings models and tables

    return evaluate_file(options)


def _report(options: argparse.Namespace) -> int:
    from learnae.cli.commands.measure.report import report  # noqa: PLC0415 - brings models and tables

    return report(options)


def _export_metrics(options: argparse.Namespace) -> int:
    from learnae.cli.commands.measure.metrics import export_metrics  # noqa: PLC0415 - brings models and tables

    return export_metrics(options)


def _audit(options: argparse.Namespace) -> int:
    from learnae.cli.commands.look.audit import audit  # noqa: PLC0415 - brings attacks and learners

    return audit(options)


def _add_keeping(verbs: Verbs) -> None:
    command = verbs.add_parser("export", help="the swarm's model as .safetensors or .keras")
    command.add_argument("file", type=place, help="its name's end says the format; how to use the model is in it")
    _add_which_model(command)
    _finish(_with_swarm(command), export)
    command = verbs.add_parser("rollback", help="let a stopped peer go on from a version that it has kept")
    command.add_argument("version", metavar="VERSION", help="best, v1, ... (learnae versions)")
    command.add_argument("--peer", metavar="P", help="whose; not needed if only one keeps versions here")
    _finish(command, rollback)
    command = verbs.add_parser("blocks", help="what is stored here, and at the Kubo daemon; check, pin, clean up")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="each of them, not only how many there are")
    what.add_argument("--fsck", action="store_true", help="compare all blocks with their names; remove damaged ones")
    what.add_argument("--pin", action="store_true", help="let the daemon have all blocks, now")
    what.add_argument("--gc", action="store_true", help="delete and unpin what is not needed any more")
    _finish(_with_swarm(command), blocks)
    command = verbs.add_parser("anchor", help="write on an IOTA Tangle that something exists; prove since when")
    command.add_argument("what", nargs="?", help="a file or a CID; without it, every peer's newest message")
    command.add_argument("--verify", action="store_true", help="prove that it is anchored, and since which milestone")
    command.add_argument("--wait", type=seconds, default=0.0, metavar="S", help="for the milestone, at most")
    command.add_argument("--trust-node", action="store_true", help="do without the coordinator's signature")
    command.add_argument("--node", metavar="URL", help=f"default: as configured, or {DEFAULT_NODE}")
    _finish(_with_swarm(command), anchor)


def _add_which_model(command: argparse.ArgumentParser) -> None:
    peer = "the estimate of this peer of this machine, not of the whole swarm"
    command.add_argument("--peer", metavar="P", help=peer)
    command.add_argument("--version", metavar="V", help="one that this peer has kept: best, v1, ... (learnae versions)")
    own = "the model that serves this machine alone: nothing protects the rows in it"
    command.add_argument("--personal", dest="version", action="store_const", const="personal", help=own)


def _add_moving(verbs: Verbs) -> None:
    command = verbs.add_parser("backup", help="write keys, states and models of the peers here into one file")
    command.add_argument("file", type=place, help="its name ends with .tar; it holds private keys")
    command.add_argument("--peer", metavar="P", help="only this one, and its swarm")
    _finish(command, backup)
    command = verbs.add_parser("restore", help="take back what a backup holds")
    command.add_argument("file", type=place)
    _finish(command, restore)
    command = verbs.add_parser("move", help="move all that Learnae keeps here to another place")
    command.add_argument("directory", type=place, help="is not there yet; the old place becomes a link to it")
    _finish(command, move)
    command = verbs.add_parser("rename", help="give a peer of this machine another name; its key stays")
    command.add_argument("peer", metavar="OLD")
    command.add_argument("name", metavar="NEW")
    _finish(command, rename)
    command = verbs.add_parser("leave", help="stop a peer of this machine and remove it, its key too")
    command.add_argument("peer", nargs="?", metavar="PEER", help="not needed if there is only one")
    command.add_argument(
        "--with-swarm", action="store_true", help="also the swarm's directory, if no other peer needs it"
    )
    command.add_argument("--yes", action="store_true", help="do not ask")
    _finish(command, leave)


def _with_swarm(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument(
        "--swarm", default="", metavar="S", help="id, name or directory; not needed if there is only one"
    )
    return command


def _finish(command: argparse.ArgumentParser, run: object) -> None:
    command.add_argument("--json", action="store_true", help="for machines")
    command.set_defaults(command=run)
