"""How the programs list what they do: verbs under headings, each verb's page with what it is for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from learnae.basics.overriding import override

_OTHERS = "more"
_INDENT = 4  # columns more than argparse has reserved for verbs: they stand below a heading


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse._SubParsersAction


class Verbs(Subparsers):
    """Verbs whose short help is also what their own page begins with; ``groups`` maps headings to verbs."""

    groups: Mapping[str, Sequence[str]] = {}

    @override
    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a verb; its ``help`` is the description that its page begins with, unless it has another."""
        said = str(options.get("help", ""))
        if said:
            options.setdefault("description", f"{said[0].upper()}{said[1:]}.")
        return super().add_parser(name, **options)


def add_verbs(
    parser: argparse.ArgumentParser, name: str = "verb", groups: Mapping[str, Sequence[str]] | None = None
) -> Verbs:
    """Let ``parser`` take a verb, which is ``options.<name>``; it lists them below the headings of ``groups``.

    Verbs that no group names come last.
    """
    verbs = parser.add_subparsers(action=Verbs, dest=name, required=True, metavar="VERB", title="verbs")
    assert isinstance(verbs, Verbs)
    if groups:
        verbs.groups = groups
        parser.formatter_class = GroupedHelp
    return verbs


class GroupedHelp(argparse.RawDescriptionHelpFormatter):
    """Lists verbs below headings."""

    @override
    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, Verbs) or not action.groups:
            return super()._format_action(action)
        verbs = {verb.dest: verb for verb in self._iter_indented_subactions(action)}
        self._action_max_length = max(self._action_max_length, max(map(len, verbs)) + _INDENT)
        grouped = {name for names in action.groups.values() for name in names}
        groups = {**action.groups, _OTHERS: [name for name in verbs if name not in grouped]}
        parts = []
        for heading, names in groups.items():
            listed = [verbs[name] for name in names if name in verbs]
            if listed:
                self._indent()
                lines = "".join(map(self._format_action, listed))
                self._dedent()
                parts.append(f"{'':{self._current_indent}}{heading}:\n{lines}")
        return "\n".join(parts)
