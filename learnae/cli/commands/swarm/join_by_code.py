"""``learnae join LRN1…``: from an invite code to a member of the swarm, on a machine that knows nothing of it.

Also without a code, where members vouch: then the swarm's id and an address bring a peer's wish to them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from getpass import getpass
from pathlib import Path
from typing import Any

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.audit.exposures import exposures
from learnae.cli.commands.swarm.board_service import join_as_service
from learnae.cli.commands.swarm.cost_note import check_affordable, costs_note, costs_of
from learnae.cli.commands.swarm.data_look import Look, look_into
from learnae.cli.commands.swarm.join import (
    LABEL,
    Sections,
    check_place,
    check_startable,
    configuration,
    known_name,
    link_sections,
    start_peer,
)
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
from learnae.config.sections import AUTO, MqttSection
from learnae.errors import ConfigurationError, TransportError
from learnae.membership.codes.invite_code import InviteCode, is_code, parse
from learnae.membership.gate import MEMBER
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.admission.application import forget_application, keep_application
from learnae.runtime.admission.joining import Call
from learnae.runtime.admission.reaching import keep_password, links_of
from learnae.runtime.private.consent import check_consent, read_accepted
from learnae.runtime.private.policy import check_agreed
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import create_once, writing
from learnae.system.paths import KEY_FILE, peer_directory
from learnae.system.private_files import make_private
from learnae.tables.opening import check_readable

_CONNECT_SECONDS = 10.0
_POLL_SECONDS = 0.05
Price = Callable[[Manifest], Mapping[str, Any]]


def join_by_code(options: argparse.Namespace, code: InviteCode | None = None) -> int:
    """Ask the swarm's members to let a peer of this machine in, and write its configuration.

    Without ``code``, the options hold it.
    """
    code = code or (parse(options.swarm) if is_code(options.swarm) else _heard(options.swarm))
    if options.role == "agent" and options.start:
        return join_as_service(options, code)
    if options.label and options.role == "agent":
        raise ConfigurationError("an agent's labels are in the column 'label'", "leave out --label, or rename it there")
    check_startable(options)
    read_accepted(options.accept)
    if options.data:
        check_readable(options.data)
    directory = peer_directory(options.name or known_name(options, code.swarm) or options.role)
    check_place(directory, code.swarm)
    with writing(directory):
        make_private(directory)
    identity = Identity.load_or_create(directory / KEY_FILE)
    asked = MqttSection(
        options.broker, options.user, password_file=str(options.password_file or ""),
        ca_file=str(options.ca_file or ""), prefix=options.prefix,
    )  # fmt: skip
    mqtt, lan = links_of(code, asked, options.member, directory)
    if mqtt.broker:
        mqtt = _reach(mqtt, code, directory)
    keep_application(directory, code)
    config = options.config or user_config_directory() / f"{options.role}.toml"
    call = Call(mqtt, lan, code, identity, options.role)
    price = partial(costs_of, role=options.role, mqtt=mqtt, lan=lan)
    try:
        look = _ask(call, options, directory, time.monotonic() + options.wait, price)
        swarm, is_in, said = call.applicant.swarm, call.applicant.is_in, call.applicant.describe()
        lan = replace(lan, peers=" ".join(call.reached() or lan.peers.split()))
    finally:
        call.close()
    lan = replace(lan, serve=AUTO if options.lan else "")
    _write(config, options, directory.name, code, link_sections(mqtt, lan))
    if is_in:
        forget_application(directory)
    costs = price(swarm.manifest) if swarm and options.json else None
    _tell(options, code, identity, config, swarm.manifest if swarm else None, look, is_in, said, costs)
    return start_peer(options) if options.start else 0


def _heard(text: str) -> InviteCode:
    """Return the code that a machine of this network offers under one that was read aloud."""
    from learnae.adapters.lan.rendezvous import accept_code  # noqa: PLC0415 - for this alone
    from learnae.membership.codes.spoken_code import SpokenCode  # noqa: PLC0415

    return accept_code(SpokenCode.parse(text))


def _reach(section: MqttSection, code: InviteCode, directory: Path) -> MqttSection:
    """Return a section with which the broker lets this machine in: it asks for a password where one is wanted."""
    why = _why_not_connected(section)
    if "refuses us" in why and not code.password and not section.password_file and sys.stdin and sys.stdin.isatty():
        print(f"{section.broker} wants a user and a password", file=sys.stderr)
        user = section.user or input("user: ").strip()
        password = keep_password(directory, getpass("password: "))
        section = replace(section, user=user, password_file=password)
        why = _why_not_connected(section)
        if why:
            Path(password).unlink()
    if "refuses us" in why:
        raise ConfigurationError(f"{section.broker}: {why}", "give --user, and --password-file with its password")
    if why:
        raise TransportError(f"{section.broker}: {why}", "check that this machine reaches it, then repeat the command")
    return section


def _why_not_connected(section: MqttSection) -> str:
    """Return why there is no connection to a broker; empty if there is one."""
    connection = MqttConnection(section)
    connection.start()
    deadline = time.monotonic() + _CONNECT_SECONDS
    try:
        while connection.state().endswith(": connecting") and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return "" if connection.is_connected else connection.state()
    finally:
        connection.close()


def _ask(call: Call, options: argparse.Namespace, directory: Path, deadline: float, price: Price) -> Look | None:
    """Ask until this peer is in, or it is too late; return what was seen of the data. Raises ConfigurationError."""
    applicant, said, look, is_shown = call.applicant, "", None, False
    while True:
        try:
            applicant.turn()
        except ConfigurationError:
            forget_application(directory)
            raise
        if applicant.swarm and not is_shown:
            is_shown = True
            look = _show(applicant.swarm.manifest, options, price)
        if said != (said := applicant.describe()) and sys.stderr.isatty():
            print(said if applicant.is_in else f"{said} …", file=sys.stderr)
        if applicant.is_in or time.monotonic() >= deadline:
            return look
        time.sleep(_POLL_SECONDS)


def _show(manifest: Manifest, options: argparse.Namespace, price: Price) -> Look | None:
    """Say what will be trained, what it costs, and what others see; look into the data. Raises ConfigurationError."""
    manifest.check_known()
    if options.role == "agent" and manifest.features is None:
        raise ConfigurationError(f"swarm {manifest.name!r} defines no features", "only trainers can be members of it")
    check_agreed(manifest)
    check_consent(manifest, PrivacySection(), read_accepted(options.accept))
    check_affordable(manifest, options.role)
    told = "how many noisy steps" if manifest.privacy.training else "how many rows, steps, losses"
    fields = {
        "swarm": manifest.name,
        "trains": manifest.task,
        **costs_note(price(manifest), manifest.only_keras),
        **columns_note(manifest),
        **floor_note(manifest),
        **membership_note(manifest),
        **clipping_note(manifest),
        **privacy_note(manifest),
        "seen": f"by all members: the peer's name, {told}, and its weights; readings by none",
    }
    if not options.json:
        print_fields(fields)
        print_list(exposures(manifest))
    look = look_into(options.data, options.label or LABEL, manifest) if options.data else None
    for note in look.notes if look else ():
        print(f"learnae: {options.data}: {note}", file=sys.stderr)
    return look


def _write(
    config: Path,
    options: argparse.Namespace,
    name: str,
    code: InviteCode,
    links: Sections,
) -> None:
    """Write the configuration, unless it is the one that is there; raises ConfigurationError if that is another."""
    accepted = read_accepted(options.accept)
    text = configuration(options.role, options.data, options.label, name, str(code.swarm), links, accepted).encode()
    if not create_once(config, text) and config.read_bytes() != text:
        raise ConfigurationError(
            f"{config} exists, and is another peer's", "give --config FILE and --name; the rest is done: repeat it"
        )


def _tell(
    options: argparse.Namespace,
    code: InviteCode,
    identity: Identity,
    config: Path,
    manifest: Manifest | None,
    look: Look | None,
    is_in: bool,
    said: str,
    costs: Mapping[str, Any] | None,
) -> None:
    program = "trainer-node start" if options.role == "trainer" else "learnae-agent run"
    command = f"{program} --config {config}" if options.config else program
    standing = MEMBER if is_in else f"{said}; once it is started, it goes on asking"
    fields = {
        "peer": peer_name(identity.author),
        "swarm": str(code.swarm),
        "configuration": str(config),
        "start": command,
        "standing": standing,
    }
    if options.json:
        columns = list(manifest.columns) if manifest else []
        told = {"columns": columns, "costs": costs, "data": asdict(look) if look else None}
        print_json({**fields, "member": is_in, **told})
        return
    print_fields({**fields, **({"data": str(look)} if look else {})})
    if not options.data:
        what = "[data] file" if options.role == "trainer" else "[source], see docs/agent.md"
        print(f"\nfirst set {what}, in that configuration")
