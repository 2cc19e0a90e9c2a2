"""Configuration: TOML files, then environment, then flags, into dataclasses; typos are named.

Order, later wins: ``/etc/learnae/ROLE.toml``, ``$XDG_CONFIG_HOME/learnae/ROLE.toml`` (or, instead
of both, the file that was asked for), ``LEARNAE_SECTION__KEY`` from the environment, flags.
Paths in a file are relative to its directory, others to the working one; ``~`` is a home (``places``).
A field of type ``dict[str, SECTION]`` stands for any number of sections: ``[FIELD.NAME]``, and
``LEARNAE_FIELD__NAME__KEY``. Of the environment, sections that only other programs have are left alone.
"""

import codecs
import dataclasses
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from learnae.config.keys import about
from learnae.config.places import Secret, located
from learnae.errors import ConfigurationError
from learnae.system.atomic_files import is_there, read_regular
from learnae.system.paths import expanded, path_from, user_home
from learnae.text import without_secrets

ENVIRONMENT_PREFIX = "LEARNAE_"
_MAX_BYTES = 1 << 20
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # categories of characters: control, format, separators
_BOOLEANS = {"true": True, "false": False}

Config = TypeVar("Config")
Section = TypeVar("Section")
ROLES = ("trainer", "agent")
_OF_PEERS = (
    "peer", "swarm", "data", "source", "sources", "buffer", "resources", "inference", "train", "publish", "privacy",
    "dashboard",
)  # fmt: skip
_OF_LINKS = ("mqtt", "ipfs", "lan", "exchange", "iota", "port", "board", "bridge")
SECTIONS = frozenset((*_OF_PEERS, *_OF_LINKS))  # of all programs: one environment serves them all
Values = dict[str, dict[str, Any]]


def config_files(role: str) -> list[Path]:
    """Return where a role's configuration is looked for, weakest first."""
    return [Path("/etc/learnae") / f"{role}.toml", user_config_directory() / f"{role}.toml"]


def user_config_directory() -> Path:
    """Return ``$XDG_CONFIG_HOME/learnae``."""
    return (path_from("XDG_CONFIG_HOME") or user_home() / ".config") / "learnae"


def load_config(
    kind: type[Config],
    role: str,
    file: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration of ``role`` into ``kind``: a dataclass of section dataclasses.

    ``flags`` maps ``section.key`` to a value; None means not given. Raises ConfigurationError.
    """
    values: Values = {}
    for path in [Path(expanded(str(file), "--config"))] if file is not None else filter(is_there, config_files(role)):
        _merge(values, _read(path), kind, str(path), _folder(path))
    for section, key, text in _from_environment(os.environ if environment is None else environment):
        if section in SECTIONS and section not in get_type_hints(kind):
            continue
        _merge(values, {section: _nested(key, text)}, kind, f"{ENVIRONMENT_PREFIX}{section}__{key}".upper())
    _merge_flags(values, flags or {}, kind)
    return _build(kind, values)


def given_values(kind: type, file: Path | None, flags: Mapping[str, object]) -> Values:
    """Return what ``file`` and ``flags`` give of the sections of ``kind``, no more; raises ConfigurationError."""
    values: Values = {}
    if file is not None:
        _merge(values, _read(file), kind, str(file), _folder(file))
    _merge_flags(values, flags, kind)
    return values


def find_section(kind: type[Section], name: str) -> Section:
    """Read ``[name]`` as this machine's roles have it, for commands that belong to no role.

    Of several files that have it, one in the user's directory and a trainer's are the stronger ones. Raises
    ConfigurationError.
    """
    whole = dataclasses.make_dataclass("Whole", [(name, kind)])
    values: Values = {}
    places = [config_files(role)[place] for place in (0, 1) for role in reversed(ROLES)]
    for path in filter(is_there, places):
        own = {key: items for key, items in _read(path).items() if key == name}
        _merge(values, own, whole, str(path), _folder(path))
    for section, key, text in _from_environment(os.environ):
        if section == name:
            _merge(values, {name: {key: text}}, whole, f"{ENVIRONMENT_PREFIX}{name}__{key}".upper())
    found: Section = getattr(_build(whole, values), name)
    return found


def _read(path: Path) -> Values:
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        remedy = "check the path and its permissions"
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", remedy) from error
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path} has more than {_MAX_BYTES} bytes", "this is no configuration file")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise ConfigurationError(f"{path} is not TOML: its text is UTF-16", "save it as UTF-8")
    text = ""
    try:
        text = data.decode("utf-8-sig")  # editors of Windows begin with a byte order mark
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", _remedy(text, str(error))) from error


def _remedy(text: str, problem: str) -> str:
    """Return what to do about a line that is not TOML: name the first sign in it that no editor shows."""
    place = re.search(r"at line (\d+), column", problem)
    line = text.split("\n")[int(place[1]) - 1] if place else ""
    for column, sign in enumerate(line.removesuffix("\r"), 1):
        if sign not in " \t" and unicodedata.category(sign) in _INVISIBLE:
            name = unicodedata.name(sign, "a control character").lower()
            return f"delete the invisible sign U+{ord(sign):04X} ({name}) in column {column}"
    return "mend that line"


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name, text in environment.items():
        section, double, key = name.removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if name.startswith(ENVIRONMENT_PREFIX) and double and text:
            yield section.lower(), key.lower(), text


def _nested(key: str, text: str) -> dict[str, Any]:
    name, double, rest = key.partition("__")
    return {name: {rest: text}} if double else {key: text}


def _merge_flags(values: Values, flags: Mapping[str, object], kind: type) -> None:
    for name, value in flags.items():
        if value is not None:
            section, key = name.split(".")
            _merge(values, {section: {key: value}}, kind, "the command line")


def _folder(path: Path) -> Path:
    return path.absolute().parent


def _merge(values: Values, new: Mapping[str, Any], kind: type, origin: str, folder: Path | None = None) -> None:
    """Take ``new`` values into ``values``; paths in them are relative to ``folder``, if there is one."""
    sections = get_type_hints(kind)
    for section, items in new.items():
        _check_known(section, sections, origin, "section")
        _check_section(items, section, origin)
        one = _one_of_several(sections[section])
        if one is None:
            _merge_section(values.setdefault(section, {}), items, sections[section], origin, section, folder)
            continue
        for name, inner in items.items():
            _check_section(inner, f"{section}.{name}", origin)
            own = values.setdefault(section, {}).setdefault(name, {})
            _merge_section(own, inner, one, origin, f"{section}.{name}", folder)


def _merge_section(
    values: dict[str, Any], items: Mapping[str, Any], kind: type, origin: str, section: str, folder: Path | None
) -> None:
    keys, sorts = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    choices = {item.name: about(item).choices for item in dataclasses.fields(kind)}
    for key, value in items.items():
        _check_known(key, keys, f"{origin} [{section}]", "key")
        where = f"{origin}: {section}.{key}"
        converted = _convert(value, keys[key], where, sorts[key], choices[key])
        values[key] = located(converted, sorts[key], folder, where) if isinstance(converted, str) else converted


def _one_of_several(kind: Any) -> type | None:
    """Return the kind of a section of which there may be any number, each with a name; None for any other."""
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _check_section(items: object, section: str, origin: str) -> None:
    if not isinstance(items, Mapping):
        raise ConfigurationError(f"{origin}: {section} is not a section", f"write [{section}] above its keys")


def _check_known(name: str, known: Mapping[str, Any], origin: str, what: str) -> None:
    if name not in known:
        import difflib  # noqa: PLC0415 - for typos only

        near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
        remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise ConfigurationError(f"{origin}: unknown {what} {name!r}", remedy)


def _convert(value: object, wanted: Any, where: str, sort: Any = None, choices: Sequence[str] = ()) -> object:
    wanted = wanted if isinstance(wanted, UnionType) else get_origin(wanted) or wanted
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    if (wanted is float and isinstance(value, int) and not isinstance(value, bool)) or (
        wanted in (int, float) and isinstance(value, str)  # from the environment
    ):
        with suppress(ValueError, OverflowError):
            return wanted(value)
    if wanted is bool and isinstance(value, str) and value in _BOOLEANS:  # from the environment
        return _BOOLEANS[value]
    shown = f"of type {type(value).__name__}" if sort == Secret else without_secrets(repr(value))
    wish = "bool: true or false" if wanted is bool else getattr(wanted, "__name__", wanted)
    if choices:
        quoted = [f'"{choice}"' for choice in choices if choice]
        raise ConfigurationError(f"{where} is {shown}", f"use {', '.join(quoted[:-1])} or {quoted[-1]}")
    raise ConfigurationError(f"{where} is {shown}", f"it must be of type {wish}")


def _build(kind: type[Config], values: Values) -> Config:
    sections = get_type_hints(kind)
    built = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        own, one = values.get(item.name, {}), _one_of_several(sections[item.name])
        built[item.name] = sections[item.name](**own) if one is None else _build_several(one, item.name, own)
    return kind(**built)


def _build_several(kind: Any, section: str, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    built = {}
    for name, own in values.items():
        try:
            built[name] = kind(**own)
        except ConfigurationError as error:
            raise ConfigurationError(f"[{section}.{name}]: {error.problem}", error.remedy) from error
    return built
