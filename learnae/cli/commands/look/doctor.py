"""``learnae doctor``: what is installed and reachable here, and the remedy for what is not."""

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rich.text import Text

from learnae.adapters.iota.node import Node
from learnae.adapters.iota.pyota import INSTALL_PYOTA
from learnae.cli.commands.look.doctor_ipfs import ipfs_findings
from learnae.cli.commands.look.doctor_lan import lan_findings
from learnae.cli.commands.look.doctor_mqtt import mqtt_findings
from learnae.cli.commands.look.trials import try_parts
from learnae.cli.output import BROKEN, MISSING, OK, Finding, console, print_json, table
from learnae.cli.swarm_choice import choose_swarm
from learnae.config.loading import find_section
from learnae.config.sections import IotaSection
from learnae.errors import EquivocationError, LearnaeError, ManifestError, ModelError, StateError
from learnae.system.installation import how_to_install
from learnae.system.paths import home, last_status, peers_here, why_peer_unwritable
from learnae.text import host_of

_PACKAGES = (
    # distribution (or several that do the same), what for, the extra that has it
    ("numpy", "everything", ""),
    ("cryptography", "keys and signatures", ""),
    ("cbor2", "messages", ""),
    ("typer", "trainer-node", "trainer"),
    ("safetensors", "learnae export", "trainer"),
    ("keras", "learnae export to .keras", "trainer"),
    ("jax", "training at full speed, on a GPU, too", "trainer"),
    ("tflite-runtime ai-edge-litert", "an agent", "agent"),
    ("paho-mqtt", "a broker", "trainer"),
    ("pyserial", "firmware-bridge", "serial"),
    ("segno", "invite codes as pictures", "trainer"),
    ("spake2", "codes that are read aloud", "lan"),
    ("zeroconf", "finding machines by mDNS", "lan"),
    ("ipfshttpclient", "blocks at a Kubo daemon", "ipfs"),
    ("pyota", "heads on an IOTA Tangle", "iota"),
)
_NOTES = {  # to the remedy for a package
    "paho-mqtt": ", on a board with [agent]",
    "pyota": f" && {INSTALL_PYOTA}",
}


def doctor(options: argparse.Namespace) -> int:
    """Check everything; exit status 0 if nothing is broken."""
    findings = [
        *_python(),
        *_packages(),
        *_home(),
        _swarm(),
        *ipfs_findings(),
        *mqtt_findings(),
        *lan_findings(),
        *_iota(),
    ]
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        colours = {OK: "green", MISSING: "yellow", BROKEN: "red"}
        rows: list[list[str | Text]] = [[f.thing, Text(f.state, colours[f.state]), f.detail] for f in findings]
        console.print(table("", ["what", "state", "found"], rows, wrap=True))
        _print_remedies(finding for finding in findings if finding.state != OK and finding.remedy)
    return int(any(finding.state == BROKEN for finding in findings))


def _print_remedies(findings: Iterable[Finding]) -> None:
    """Print each remedy once, in a line of its own that no border and no width cuts: it is there to be copied."""
    cured = dict[str, list[str]]()
    for finding in findings:
        cured.setdefault(finding.remedy, []).append(finding.thing)
    for remedy, things in cured.items():
        console.print(Text(f"{', '.join(things)}: {remedy}"), soft_wrap=True)


def _python() -> Iterator[Finding]:
    fits = sys.version_info[:2] >= (3, 11)
    detail = f"{platform.python_version()} on {platform.machine()}"
    yield Finding("Python", OK if fits else BROKEN, detail, "use Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for names, _, _ in _PACKAGES for name in names.split()}
    errors = try_parts(name for name, version in versions.items() if version)
    for names, purpose, extra in _PACKAGES:
        remedy = how_to_install(extra) + _NOTES.get(names, "")
        found = [name for name in names.split() if versions[name]]
        for name in found:
            if error := errors[name]:
                yield Finding(name, BROKEN, f"{versions[name]} does not work: {error}", remedy)
            else:
                yield Finding(name, OK, f"{versions[name]}, for {purpose}", remedy)
        if not found:
            yield Finding(names.replace(" ", " or "), MISSING, f"for {purpose}", remedy)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _home() -> Iterator[Finding]:
    path = home()
    existing = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    free = shutil.disk_usage(existing).free
    detail = f"{path}, {free / 2**30:.1f} GiB free"
    yield Finding("home", OK if writable else BROKEN, detail, "set LEARNAE_HOME to a directory you own")
    try:
        peers = peers_here()
    except LearnaeError as denied:
        yield Finding("peers", BROKEN, denied.problem, denied.remedy)
        return
    for peer in peers:
        if why := why_peer_unwritable(peer):
            yield Finding(f"peer {peer.name}", BROKEN, f"publishes nothing: {why}", f"see {peer}: space, mount, owner")
        if last_status(peer).get("banned"):
            error = EquivocationError()
            yield Finding(f"peer {peer.name}", BROKEN, error.problem, error.remedy)


def _swarm() -> Finding:
    try:
        return Finding("swarm", OK, choose_swarm().manifest.name, "")
    except LearnaeError as error:
        is_here = isinstance(error, (ManifestError, ModelError, StateError))  # or configured
        return Finding("swarm", BROKEN if is_here else MISSING, error.problem, error.remedy)


def _iota() -> Iterator[Finding]:
    """Check the configured node, if there is one."""
    try:
        section = find_section(IotaSection, "iota")
        if not section.node:
            return
        node = Node.from_section(section)
        info = node.info()
        detail = f"{host_of(section.node)}, {info.software}, milestone {info.milestone}"
        if info.trouble:
            cure = "wait for it, or start its coordinator" if info.takes_data else "run that one"
            yield Finding("IOTA node", BROKEN, info.trouble, f"see docs/iota.md: {cure}")
            return
        yield Finding("IOTA node", OK, f"{detail}, weight magnitude {node.mwm()}", "")
    except LearnaeError as error:
        yield Finding("IOTA node", BROKEN, error.problem, error.remedy)
