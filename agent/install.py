"""``learnae-agent install``: systemd's units and first configurations, written where they belong.

Units belong to the program and are replaced; changes to them go into drop-ins. What is in
``/etc/learnae`` belongs to the user and is never replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from learnae.errors import ConfigurationError, StateError
from learnae.membership.codes.invite_code import InviteCode, is_code, parse
from learnae.swarm.directory import open_manifest, read_manifest
from learnae.system.atomic_files import write_atomic
from learnae.system.installation import how_to_install, is_installed

UNITS = ("learnae-agent@.service", "firmware-bridge@.service", "trainer-node.service")
UNIT_DIRECTORY = "usr/local/lib/systemd/system"  # below /etc/systemd, so that `systemctl edit` wins
CONFIGURATION = "etc/learnae"
SWARM_FILE = "swarm.cbor"
CODE_FILE, PASSWORD_FILE = "invite-code", "password"  # credentials
CREATE, REPLACE, SAME, KEEP = "create", "replace", "same", "keep"

_PROGRAMS = "/opt/learnae/bin"  # where the shipped units look
_SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # what systemd takes unescaped as an instance
EXAMPLE = "board"  # the name of the services in the examples
_UMASK = 0o022  # services are other users than the one who installs: modes are what is said here, whatever theirs is
_IN_UNITS = re.compile(r"[^\s\x00-\x1f\x7f\"'\\$%;]+")  # a path that systemd takes unescaped
_HOMES = (Path("/root"), Path("/home"))
_PARTS = {  # of each service: its extra, without which modules its unit cannot start, what else it has use for
    "agent": ("agent", (), ("flatbuffers", "paho", "tflite_runtime ai_edge_litert")),
    "bridge": ("serial", ("cobs", "serial"), ()),
    "trainer": ("trainer", ("typer",), ("jax", "keras", "paho")),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file with ``data``, or a directory; ``ours`` is replaced if it differs."""

    path: Path
    data: bytes | None = field(repr=False)
    mode: int = 0o644
    ours: bool = False

    def action(self) -> str:
        """Return what writing it does: one of CREATE, REPLACE, SAME, KEEP."""
        try:
            if self.data is None:
                return SAME if self.path.is_dir() else CREATE
            if self.path.read_bytes() == self.data:
                return SAME
        except FileNotFoundError:
            return CREATE
        except OSError as error:
            raise StateError(f"cannot read {self.path}: {error.strerror}", "run it as root") from error
        return REPLACE if self.ours else KEEP

    def write(self) -> None:
        """Write the file or make the directory; raises StateError."""
        directory, mode = (self.path, self.mode) if self.data is None else (self.path.parent, 0o755)
        try:
            directory.mkdir(mode, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"cannot make {self.path}: {error.strerror}", "run it as root, or give --root") from error
        if self.data is not None:
            write_atomic(self.path, self.data, mode=self.mode)


@dataclass(frozen=True, slots=True)
class Request:
    """Which services get a configuration, and the swarm that they join, if it is known: by manifest or by invite."""

    agents: Sequence[str] = (EXAMPLE,)
    bridges: Sequence[str] = ()
    trainer: bool = False
    swarm: Path | None = None
    code: InviteCode | None = None


def install(options: argparse.Namespace) -> int:
    """Write what is missing and print what was done; the same again changes nothing."""
    agents = options.names or ([] if options.bridge or options.trainer else [EXAMPLE])
    text = sys.stdin.readline().strip() if options.swarm == "-" else options.swarm
    if is_code(text) and len(agents) + options.trainer != 1:
        raise ConfigurationError("an invite code, and not one peer that is to use it", "install peers one by one")
    code = parse(text) if is_code(text) else None
    manifest = Path(text) if text and code is None else None
    request = Request(agents, options.bridge, options.trainer, manifest, code)
    programs = (options.programs or Path(sysconfig.get_path("scripts"))).absolute()
    if not _IN_UNITS.fullmatch(str(programs)):
        remedy = "install Learnae at a path without spaces, quotes and %, such as /opt/learnae"
        raise ConfigurationError(f"a unit cannot start programs in {str(programs)!r}", remedy)
    if programs == Path(sysconfig.get_path("scripts")).absolute():
        _say_what_is_absent(request)
    plan = [(item, item.action()) for item in wanted(request, options.root, programs)]
    before = os.umask(_UMASK)
    try:
        for item, action in plan:
            if action in (CREATE, REPLACE) and not options.dry_run:
                item.write()
    finally:
        os.umask(before)
    if options.json:
        print(json.dumps({str(item.path): action for item, action in plan}))
    else:
        print("\n".join(f"{action:8}{item.path}" for item, action in plan))
        if hidden := _in_homes(programs):
            print(f"services see no homes, and {hidden} is in one: install Learnae at /opt/learnae", file=sys.stderr)
        print(_next(request), file=sys.stderr)
    return 0


def _say_what_is_absent(request: Request) -> None:
    """Print what this environment lacks of what the services use; raises ConfigurationError if one could not start."""
    kinds = {"agent": request.agents, "bridge": request.bridges, "trainer": request.trainer}
    for kind in (kind for kind, asked in kinds.items() if asked):
        extra, needed, used = _PARTS[kind]
        if absent := [module for module in needed if not is_installed(module)]:
            problem = f"the unit of the {kind} could not start: {' and '.join(absent)} not installed"
            raise ConfigurationError(problem, how_to_install(extra))
        if absent := [names.replace(" ", " or ") for names in used if not any(map(is_installed, names.split()))]:
            print(f"the {kind} has to do without {', '.join(absent)}: {how_to_install(extra)}", file=sys.stderr)


def _in_homes(programs: Path) -> Path | None:
    """Return what a service would need and is in a home: the programs, or the Python that they run on."""
    own = programs == Path(sysconfig.get_path("scripts")).absolute()
    places = [programs, *([Path(sys.base_prefix), Path(__file__)] if own else [])]
    return next((place for place in places if any(map(place.is_relative_to, _HOMES))), None)


def wanted(request: Request, root: Path, programs: Path) -> Iterator[Wanted]:
    """Yield all that an installation below ``root`` has; the units start what is in ``programs``."""
    shipped = shipped_directory()
    for unit in UNITS:
        text = (shipped / unit).read_text().replace(_PROGRAMS, str(programs))
        yield Wanted(root / UNIT_DIRECTORY / unit, text.encode(), ours=True)
    configuration = root / CONFIGURATION
    if request.swarm:
        manifest = open_manifest(request.swarm) if request.swarm.is_dir() else read_manifest(request.swarm)
        yield Wanted(configuration / SWARM_FILE, manifest.to_bytes())
    for example, name, service in _services(request):
        text = (shipped / "examples" / f"{example}.toml").read_text().replace(EXAMPLE, name)
        secrets = configuration / "credentials" / service
        yield Wanted(configuration / f"{service}.toml", _with_code(text, request.code).encode())
        yield Wanted(secrets, None, 0o700)
        if request.code and example != "bridge":
            yield Wanted(secrets / CODE_FILE, request.code.to_text().encode() + b"\n", 0o600, ours=True)
            if request.code.password:
                yield Wanted(secrets / PASSWORD_FILE, request.code.password[1].encode() + b"\n", 0o600, ours=True)


def _with_code(text: str, code: InviteCode | None) -> str:
    """Return an example's configuration with what an invite says: which swarm it is, and where members are met."""
    if code is None:
        return text
    text = text.replace(f'id = "/{CONFIGURATION}/{SWARM_FILE}"', f'id = "{code.swarm}"')
    brokers = [address for address in code.addresses if address.startswith(("mqtt", "ws"))]
    members = [address if urlsplit(address).port else f"{address}:80" for address in code.addresses
               if address.startswith("http://")]  # fmt: skip
    lines = []
    if brokers:
        lines += ["[mqtt]", f"broker = {json.dumps(brokers[0])}"]
        if code.password:
            user = json.dumps(code.password[0], ensure_ascii=False)
            lines += [f"user = {user}", f'password_file = "{PASSWORD_FILE}"']
    elif members:
        lines += ["[lan]", f"peers = {json.dumps(' '.join(members))}"]
    return "\n".join([text, *lines, ""]) if lines else text


def shipped_directory() -> Path:
    """Return where the units are: beside the source, or where the installer has put the wheel's data."""
    from importlib.metadata import PackageNotFoundError, files  # noqa: PLC0415 - a running agent has no use for it

    places = [Path(__file__).parents[1] / "systemd"]
    try:
        # its own list is right for every way to install, also below a home and for another prefix
        places += [Path(str(file.locate())).resolve().parent for file in files("learnae") or () if file.name in UNITS]
    except PackageNotFoundError:
        places.append(Path(sysconfig.get_path("data")) / "share" / "learnae" / "systemd")
    for place in places:
        if (place / UNITS[0]).is_file():
            return place
    raise StateError(f"the units are not at {places[-1]}", "install learnae again")


def _services(request: Request) -> Iterator[tuple[str, str, str]]:
    """Yield example, name and service of each that gets a configuration."""
    for example, names in (("agent", request.agents), ("bridge", request.bridges)):
        for name in names:
            if not _SERVICE_NAME.fullmatch(name):
                raise ConfigurationError(f"{name!r} is no name for a service", "use letters, digits, dots and dashes")
            yield example, name, f"{example}-{name}"
    if request.trainer:
        yield "trainer", "trainer", "trainer"


def _next(request: Request) -> str:
    units = [f"learnae-agent@{name}" for name in request.agents]
    units += [f"firmware-bridge@{name}" for name in request.bridges]
    units += ["trainer-node"] if request.trainer else []
    if request.code and not request.code.addresses:
        print("the code names no place where members are met: set [mqtt] broker or [lan] peers", file=sys.stderr)
    edit = f"next: edit /{CONFIGURATION}/*.toml"
    return f"{edit}, then: systemctl daemon-reload && systemctl enable --now {' '.join(units)}"
