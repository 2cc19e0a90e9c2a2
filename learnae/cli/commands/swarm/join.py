"""``learnae join``: a key and a configuration for a peer."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.audit.exposures import exposures
from learnae.cli.commands.swarm.cost_note import check_affordable, costs_note, costs_of
from learnae.cli.commands.swarm.data_look import look_into
from learnae.cli.output import (
    clipping_note,
    columns_note,
    floor_note,
    membership_note,
    print_fields,
    print_json,
    print_list,
    privacy_note,
)
from learnae.config.loading import user_config_directory
from learnae.config.privacy_section import PrivacySection
from learnae.config.sections import AUTO, LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.ipld.cid import Cid
from learnae.membership.gate import MEMBER, REMOVED, WAITING
from learnae.membership.policy import VOUCHED
from learnae.peer.state import PeerState
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.homes import swarm_of
from learnae.runtime.private.consent import check_consent, read_accepted
from learnae.runtime.private.policy import check_agreed
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import Swarm, find_swarm
from learnae.system.atomic_files import create_once, writing
from learnae.system.paths import KEY_FILE, STATE_FILE, home, last_status, peer_directory, peers_here
from learnae.tables.opening import check_readable

LABEL = "label"  # of a table, unless another is named
Value = str | bool | int | float
Sections = Mapping[str, Mapping[str, Value]]

_NO_DATA = {
    "trainer": '# file = "data.npz"    # or a table: docs/tasks.md',
    "agent": '# kind = "hwmon"         # or bridge, mqtt, iio: docs/agent.md\n# file = "motion.npz"    # a recording',
}


def join(options: argparse.Namespace) -> int:
    """Make a peer's key and configuration."""
    swarm = find_swarm(options.swarm)
    manifest = swarm.manifest
    manifest.check_known()
    if options.label and options.role == "agent":
        raise ConfigurationError("an agent's labels are in the column 'label'", "leave out --label, or rename it there")
    if options.role == "agent" and manifest.features is None:
        raise ConfigurationError(f"swarm {manifest.name!r} defines no features", "only trainers can be members of it")
    check_agreed(manifest)
    check_startable(options)
    accepted = read_accepted(options.accept)
    check_consent(manifest, PrivacySection(), accepted)
    check_affordable(manifest, options.role)
    directory = peer_directory(options.name or known_name(options, manifest.swarm) or options.role)
    name = directory.name
    config = options.config or user_config_directory() / f"{options.role}.toml"
    check_vacant(config)
    look = None
    if options.data:
        check_readable(options.data)
        look = look_into(options.data, options.label or LABEL, manifest)
    check_place(directory, manifest.swarm)
    is_at_home = swarm.directory.absolute() == home().absolute() / "swarms" / str(manifest.swarm)
    named = str(manifest.swarm) if is_at_home else str(swarm.directory.resolve())  # a home may be moved
    mqtt, lan = mqtt_section(options), LanSection(serve=AUTO if options.lan else "")
    links, costs = link_sections(mqtt, lan), costs_of(manifest, options.role, mqtt, lan)
    text = configuration(options.role, options.data, options.label, name, named, links, accepted)
    with writing(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # others here may not read what it measures
    identity = Identity.load_or_create(directory / KEY_FILE)
    standing = _ask_in(swarm, identity, options)
    if not create_once(config, text.encode()):
        raise _taken(config)
    program = "trainer-node start" if options.role == "trainer" else "learnae-agent run"
    command = f"{program} --config {config}" if options.config else program
    fields = {
        "peer": peer_name(identity.author),
        "name": name,
        "swarm": str(manifest.swarm),
        "configuration": str(config),
        "start": command,
        **standing,
    }
    if options.json:
        told = {
            "columns": list(manifest.columns),
            "privacy": manifest.privacy.to_fields(),
            "exposures": exposures(manifest),
            "costs": costs,
        }
        print_json({**fields, **told, "data": asdict(look) if look else None})
    else:
        notes = {
            **costs_note(costs, manifest.only_keras),
            **columns_note(manifest),
            **floor_note(manifest),
            **membership_note(manifest),
            **privacy_note(manifest),
            **clipping_note(manifest),
        }
        print_fields({**fields, **notes, **({"data": str(look)} if look else {})})
        print_list(exposures(manifest))
        for note in look.notes if look else ():
            print(f"learnae: {options.data}: {note}", file=sys.stderr)
        if not options.data:
            what = "[data] file" if options.role == "trainer" else "[source], see docs/agent.md"
            print(f"\nfirst set {what}, in that configuration")
    return start_peer(options) if options.start else 0


def mqtt_section(options: argparse.Namespace) -> MqttSection:
    """Return ``[mqtt]`` as the options have it; raises ConfigurationError."""
    return MqttSection(
        broker=options.broker,
        user=options.user,
        password_file=str(options.password_file or ""),
        ca_file=str(options.ca_file or ""),
        prefix=options.prefix,
    )


def check_vacant(config: Path) -> None:
    """Raise ConfigurationError if there is a peer's configuration already."""
    if config.exists():
        raise _taken(config)


def _taken(config: Path) -> ConfigurationError:
    return ConfigurationError(f"{config} exists", "for another peer give --config FILE and --name, or edit that file")


def check_startable(options: argparse.Namespace) -> None:
    """Raise ConfigurationError if the peer is to be started and cannot be, or has no data to train on."""
    if options.start and options.role == "agent":
        remedy = (
            "leave out --start, then: learnae-agent run; services are made with a code, or by learnae-agent install"
        )
        raise ConfigurationError("an agent of this home is no service", remedy)
    if options.start and not options.data and options.role == "trainer":
        raise ConfigurationError("there is no data to train on yet", "give --data FILE, too")


def start_peer(options: argparse.Namespace) -> int:
    """Start the trainer in the background."""
    config = ["--config", str(options.config)] if options.config else []
    command = [sys.executable, "-m", "trainer_node", "start", "--detach", *config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print((done.stdout + done.stderr).strip(), file=sys.stderr)
    return done.returncode


def _ask_in(swarm: Swarm, identity: Identity, options: argparse.Namespace) -> dict[str, str]:
    """Let the peer into a swarm that is not open, if a key of this machine may; return what became of it."""
    if not swarm.manifest.is_sealed:
        return {}
    with closing(LocalBlockStore(swarm.directory)) as store:
        registrar = Registrar(swarm.directory, swarm.manifest, store)
        is_member = registrar.let_in(identity, options.role)
        if not is_member and registrar.policy.kind == VOUCHED:
            registrar.ask(identity)
        registrar.announce()
    if is_member:
        return {"standing": MEMBER}
    if identity.author in registrar.ledger.roster().removed:
        return {"standing": f"{REMOVED}: a member must say learnae admit, or join under another --name"}
    how = "learnae admit" if registrar.policy.kind == VOUCHED else "learnae invite"
    return {"standing": f"{WAITING}: a member must say {how}"}


def known_name(options: argparse.Namespace, swarm: Cid) -> str | None:
    """Return the name of the only peer here that has learnt in this role and swarm: who comes back is that peer.

    None if there is no such one, or if the configuration goes to a place of its own: another peer is meant then.
    """
    if options.config:
        return None
    known = [
        path.name for path in peers_here() if last_status(path).get("role") == options.role and swarm_of(path) == swarm
    ]
    return known[0] if len(known) == 1 else None


def check_place(directory: Path, swarm: Cid) -> None:
    """Raise ConfigurationError if the peer of ``directory`` has learnt in another swarm than ``swarm``."""
    try:
        state = PeerState.read(directory / STATE_FILE)
    except OSError:  # it has not run yet
        return
    if state.swarm != swarm:
        raise ConfigurationError(f"peer {directory.name!r} is in swarm {state.swarm}", "give this one another --name")


def link_sections(mqtt: MqttSection, lan: LanSection) -> dict[str, dict[str, Value]]:
    """Return the sections of the configuration by which others are reached."""
    served: dict[str, Value] = {key: value for key in ("serve", "peers") if (value := getattr(lan, key))}
    sections = {"lan": served} if served else {}
    if not mqtt.broker:
        return sections
    found: dict[str, Value] = {"broker": mqtt.broker}
    for key in ("user", "prefix"):
        if (value := getattr(mqtt, key)) != getattr(MqttSection(), key):
            found[key] = value
    for key in ("password_file", "ca_file"):
        if value := getattr(mqtt, key):
            found[key] = str(Path(value).resolve())
    return {"mqtt": found, **sections}


def configuration(
    role: str,
    data: Path | None,
    label: str | None,
    name: str,
    swarm: str,
    links: Sections,
    accepted: Sequence[str] = (),
) -> str:
    """Return the text of a peer's configuration; ``links`` are further sections, ``accepted`` keys of ``[privacy]``."""
    file = {"file": str(data.resolve())} if data else {}
    if label:
        file["label"] = label
    sections = (
        toml_text("peer", {"name": name}),
        toml_text("swarm", {"id": swarm}),
        toml_text("data" if role == "trainer" else "source", file, "" if data else _NO_DATA[role]),
    )
    privacy: Sections = {"privacy": dict.fromkeys(accepted, True)} if accepted else {}
    return "\n".join((*sections, *(toml_text(section, keys) for section, keys in {**links, **privacy}.items())))


def toml_text(section: str, values: Mapping[str, Value], hint: str = "") -> str:
    """Return ``[section]`` as TOML, ``values`` one a line, and below them ``hint``: comments for who edits the file.

    Names are bare keys: letters, digits, - and _. Raises ConfigurationError for text that is not UTF-8.
    """
    lines = [f"[{section}]", *(f"{name} = {_literal(value)}" for name, value in values.items())]
    return "".join(f"{line}\n" for line in (*lines, *hint.splitlines()))


def _literal(value: Value) -> str:
    """Return ``value`` as JSON writes it, which TOML reads alike, but for surrogate pairs and DEL."""
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{value!r} is not UTF-8, as a configuration is", "rename it") from error
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
