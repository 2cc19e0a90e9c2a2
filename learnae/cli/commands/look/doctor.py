"""``learnae doctor``: what is installed and reachable here, and the remedy for what is not."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.text import Text

from learnae.adapters.iota.node import INSTALL, Node
from learnae.cli.commands.look.doctor_ipfs import ipfs_findings
from learnae.cli.output import Finding, console, print_json, table
from learnae.cli.swarm_choice import choose_swarm
from learnae.config.loading import find_section
from learnae.config.sections import IotaSection
from learnae.errors import EquivocationError, LearnaeError, ManifestError, ModelError, StateError
from learnae.swarm.directory import open_manifest
from learnae.system.paths import home, last_status, peers_here, why_peer_unwritable

_PACKAGES = (
    # distribution (or several that do the same), what for, remedy
    ("numpy", "everything", "pip install learnae"),
    ("cryptography", "keys and signatures", "pip install learnae"),
    ("cbor2", "messages", "pip install learnae"),
    ("typer", "trainer-node", "pip install 'learnae[trainer]'"),
    ("safetensors", "learnae export", "pip install 'learnae[trainer]'"),
    ("keras", "learnae export to .keras", "pip install 'learnae[trainer]'"),
    ("jax", "training at full speed, on a GPU, too", "pip install 'learnae[trainer]'"),
    # not 'agent' there: on Python 3.11 its tflite-runtime takes the NumPy away that JAX needs
    ("tflite-runtime ai-edge-litert", "an agent", "pip install 'learnae[agent]', beside JAX 'learnae[agent-litert]'"),
    ("paho-mqtt", "a broker", "pip install 'learnae[trainer]', on a board 'learnae[agent]'"),
    ("pyserial", "firmware-bridge", "pip install 'learnae[serial]'"),
    ("ipfshttpclient", "blocks at a Kubo daemon", "pip install 'learnae[ipfs]'"),
    ("pyota", "heads on an IOTA Tangle", " && ".join(INSTALL)),
)


def doctor(options: argparse.Namespace) -> int:
    """Look at everything; exit status 0 if nothing is broken."""
    findings = [*_python(), *_packages(), *_places(), *_swarm(), *ipfs_findings(), *_iota()]
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        colours = {"ok": "green", "missing": "yellow", "broken": "red"}
        rows: list[list[str | Text]] = [
            [f.thing, Text(f.state, colours[f.state]), f.detail, f.remedy if f.state != "ok" else ""] for f in findings
        ]
        console.print(table("", ["what", "state", "found", "remedy"], rows, wrap=True))
    return int(any(finding.state == "broken" for finding in findings))


def _python() -> Iterator[Finding]:
    fits = sys.version_info[:2] >= (3, 11)
    detail = f"{platform.python_version()} on {platform.machine()}"
    yield Finding("Python", "ok" if fits else "broken", detail, "use Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    for names, purpose, remedy in _PACKAGES:
        found = {name: version for name in names.split() if (version := _version(name))}
        for name, version in found.items():
            yield Finding(name, "ok", f"{version}, for {purpose}", remedy)
        if not found:
            yield Finding(names.replace(" ", " or "), "missing", f"for {purpose}", remedy)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _places() -> Iterator[Finding]:
    path = home()
    existing = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    free = shutil.disk_usage(existing).free
    detail = f"{path}, {free / 2**30:.1f} GiB free"
    yield Finding("home", "ok" if writable else "broken", detail, "set LEARNAE_HOME to a directory you own")
    try:
        peers = peers_here()
    except LearnaeError as denied:
        yield Finding("peers", "broken", denied.problem, denied.remedy)
        return
    for peer in peers:
        if why := why_peer_unwritable(peer):
            yield Finding(
                f"peer {peer.name}", "broken", f"publishes nothing: {why}", f"see {peer}: space, mount, owner"
            )
        if last_status(peer).get("banned"):
            error = EquivocationError()
            yield Finding(f"peer {peer.name}", "broken", error.problem, error.remedy)


def _swarm() -> Iterator[Finding]:
    yield _looked("swarm", lambda: open_manifest(choose_swarm()).name)


def _iota() -> Iterator[Finding]:
    """The configured node, if there is one."""
    try:
        section = find_section(IotaSection, "iota")
        if not section.node:
            return
        node = Node(section.node, section.mwm, section.pow)
        info = node.info()
        detail = f"{section.node}, {info.software}, milestone {info.milestone}, weight magnitude {node.mwm()}"
    except LearnaeError as error:
        yield Finding("IOTA node", "broken", error.problem, error.remedy)
        return
    state = "broken" if info.trouble else "ok"
    yield Finding("IOTA node", state, info.trouble or detail, "see docs/iota.md: wait for it, or start its coordinator")


def _looked(thing: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(thing, "ok", look(), "")
    except LearnaeError as error:
        is_here = isinstance(error, (ManifestError, ModelError, StateError))  # or configured
        return Finding(thing, "broken" if is_here else "missing", error.problem, error.remedy)
