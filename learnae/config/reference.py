"""Every key of a configuration as it is declared: for people at a terminal, for programs, and for the pages."""

import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

from learnae.basics import strict_json
from learnae.config.keys import GROUPED, About, about
from learnae.config.loading import ENVIRONMENT_PREFIX
from learnae.config.places import NamedPlace, Place, Secret, SwarmPlace
from learnae.errors import ConfigurationError

_TYPES = {
    "bool": "`true` or `false`", "int": "whole number", "float": "number", "str": "text",
    "str | bool": "text, or `false`", "dict[str, str]": "table of texts",
}  # fmt: skip
_PLACES = ((Place, "path"), (Secret, "path or credential"), (SwarmPlace, "name or path"), (NamedPlace, "name or path"))
_MOST_COLUMNS = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One key; texts are Markdown. ``variable`` is empty where the environment cannot say it."""

    name: str
    type: str
    default: str
    variable: str
    about: About

    @property
    def values(self) -> str:
        """Return which values it may have: type, choices or range, and what 0 means."""
        if self.about.choices:
            return ", ".join(f"`{choice}`" for choice in self.about.choices if choice)
        within = self.about.range
        if within is None:
            return self.type
        return f"{self.type} {within}" + (f"; 0: {within.zero}" if within.zero else "")

    @property
    def start(self) -> str:
        """Return what it is without being set: the default as in TOML, and what an empty one stands for."""
        return f"`{self.default}`" + (f": {self.about.default}" if self.about.default else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """One section; with ``like`` there may be any number, each with a name and the keys of the section ``like``."""

    name: str
    meaning: str
    like: str
    keys: list[Key]

    @property
    def title(self) -> str:
        """Return what stands above its keys in TOML."""
        return f"[{self.name}.NAME]" if self.like else f"[{self.name}]"


def sections_of(kind: type) -> list[Section]:
    """Return the sections of a role's configuration in order, each with all of its keys."""
    found, hints = [], get_type_hints(kind)
    for name, hint in hints.items():
        one = get_args(hint)[1] if get_origin(hint) is dict else hint
        like = "" if one is hint else next(other for other, its in hints.items() if its is one)
        meaning = (inspect.getdoc(one) or "").partition("\n")[0].partition("``: ")[2]
        prefix = f"{ENVIRONMENT_PREFIX}{name}__".upper() + ("NAME__" if like else "")
        sorts = get_type_hints(one, include_extras=True)
        keys = [_key(item, sorts[item.name], prefix) for item in dataclasses.fields(one)]
        found.append(Section(name, meaning, like, keys))
    return found


def _key(item: dataclasses.Field[Any], sort: Any, prefix: str) -> Key:
    place = [text for kind, text in _PLACES if sort == kind]
    shown = sort.__name__ if isinstance(sort, type) and get_origin(sort) is None else str(sort)
    default = {} if item.default is dataclasses.MISSING else item.default
    variable = "" if get_origin(sort) is dict else prefix + item.name.upper()
    return Key(item.name, place[0] if place else _TYPES[shown], _in_toml(default), variable, about(item))


def _in_toml(value: object) -> str:
    return f"{value:_}" if type(value) is int and value >= GROUPED else strict_json.dumps(value)


def print_keys(kind: type, wanted: str = "", as_json: bool = False) -> None:
    """Print every key of a configuration, or those of ``wanted``: SECTION or SECTION.KEY. Raises ConfigurationError."""
    chosen = [(section, key) for section in sections_of(kind) for key in section.keys]
    if wanted:
        name, _, key_name = wanted.replace("[", "").replace("]", "").partition(".")
        _check_known("section", name, [section.name for section, _ in chosen])
        chosen = [(section, key) for section, key in chosen if section.name == name]
        if key_name:
            _check_known(f"key of [{name}]", key_name, [key.name for _, key in chosen])
            chosen = [(section, key) for section, key in chosen if key.name == key_name]
    if as_json:
        print(strict_json.dumps([_for_machines(section, key) for section, key in chosen]))
        return
    width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
    for section in dict.fromkeys(section.name for section, _ in chosen):
        own = [(one, key) for one, key in chosen if one.name == section]
        head = own[0][0]
        if head.like and not wanted:
            print(f"{head.title}  any number, each with a name and the keys of [{head.like}]")
            continue
        print(f"{head.title}  {head.meaning}".rstrip())
        for _, key in own:
            print("\n".join(_lines(key, width)))


def _lines(key: Key, width: int) -> list[str]:
    texts = [key.about.meaning, key.values]
    texts += [f"for {', '.join(key.about.only)}"] if key.about.only else []
    texts += [f"empty: {key.about.default}"] if key.about.default else []
    lines = [f"{key.name} = {key.default}" + (f"    {key.variable}" if key.variable else "")]
    for text in texts:
        lines += textwrap.wrap(text.replace("`", ""), max(width, 20), initial_indent="    ", subsequent_indent="      ")
    return lines


def _for_machines(section: Section, key: Key) -> dict[str, object]:
    within = key.about.range
    return {
        "section": section.name,
        "key": key.name,
        "type": key.type.replace("`", ""),
        "default": key.default,
        "variable": key.variable or None,
        "meaning": key.about.meaning,
        "choices": [choice for choice in key.about.choices if choice] or None,
        "range": None if within is None else dataclasses.asdict(within),
        "only": list(key.about.only) or None,
    }


def _check_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigurationError(f"unknown {what} {name!r}", f"known are {', '.join(dict.fromkeys(known))}")


def markdown_table(section: Section) -> str:
    """Return the keys of a section as a table of Markdown."""
    kinds = any(key.about.only for key in section.keys)
    heads = ["key", *(["for"] if kinds else []), "values", "default", "variable", "meaning"]
    rows = [heads, ["---"] * len(heads)]
    for key in section.keys:
        only = [", ".join(key.about.only) or "all"] if kinds else []
        variable = f"`{key.variable}`" if key.variable else ""
        cells = [f"`{key.name}`", *only, key.values, key.start, variable, key.about.meaning]
        rows.append([cell.replace("|", r"\|") for cell in cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
