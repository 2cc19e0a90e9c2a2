"""Scripts that let a shell complete a program's verbs, options and files, made of its parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from learnae.cli.arguments import place

SHELLS = ("bash", "zsh", "fish")
_ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


@dataclass(frozen=True, slots=True)
class _Option:
    """An option, or an argument without ``flags``: what may stand there, or whether it is a file."""

    flags: Sequence[str]
    takes_value: bool
    choices: Sequence[str]
    is_file: bool
    told: str


@dataclass(frozen=True, slots=True)
class _Verb:
    """What may follow the ``words`` of a verb."""

    words: tuple[str, ...]
    verbs: dict[str, str]
    options: list[_Option]

    @property
    def places(self) -> list[_Option]:
        """Return the arguments without flags."""
        return [option for option in self.options if not option.flags]

    @property
    def next_words(self) -> list[str]:
        """Return what may stand next, but for files."""
        flags = [flag for option in self.options for flag in option.flags]
        return [*self.verbs, *(choice for option in self.places for choice in option.choices), *flags]


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for one of SHELLS. Nothing of it is computed when something is completed."""
    verbs = list(_walk(parser, ()))
    if shell == "fish":
        return _fish(parser.prog, verbs)
    return (_ZSH if shell == "zsh" else "") + _bash(parser.prog, verbs)


def _walk(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[_Verb]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    told = {each.dest: each.help or "" for action in below for each in action._choices_actions}
    others = [action for action in parser._actions if action not in below]
    yield _Verb(words, told, [_option(action) for action in others])
    for action in below:
        for name, inner in action.choices.items():
            yield from _walk(inner, (*words, name))


def _option(action: argparse.Action) -> _Option:
    choices = list(map(str, action.choices or ()))
    return _Option(action.option_strings, action.nargs != 0, choices, action.type is place, action.help or "")


def _bash(program: str, verbs: Sequence[_Verb]) -> str:
    paths = [" " + " ".join(verb.words) for verb in verbs if verb.words]
    lines = [
        f"_{program}() {{",
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= words= files= index",
        "    COMPREPLY=()",
        "    for ((index = 1; index < COMP_CWORD; index++)); do",
        '        case "$verb ${COMP_WORDS[index]}" in',
        f'            {"|".join(map(quote, paths))}) verb="$verb ${{COMP_WORDS[index]}}" ;;',
        "        esac",
        "    done",
        '    case "$verb $before" in',
    ]
    for verb in verbs:
        path = "".join(f" {word}" for word in verb.words)
        for option in (each for each in verb.options if each.flags and each.takes_value):
            names = "|".join(quote(f"{path} {flag}") for flag in option.flags)
            files = " files=1" if option.is_file else ""
            lines.append(f"        {names}) words={quote(' '.join(option.choices))}{files} ;;")
    lines += ["        *)", '            case "$verb" in']
    for verb in verbs:
        path = "".join(f" {word}" for word in verb.words)
        files = " files=1" if any(option.is_file for option in verb.places) else ""
        lines.append(f"                {quote(path)}) words={quote(' '.join(verb.next_words))}{files} ;;")
    lines += [
        "            esac ;;",
        "    esac",
        '    [ -z "$words" ] || COMPREPLY=($(compgen -W "$words" -- "$current"))',
        '    if [ -n "$files" ] && [ "${current#-}" = "$current" ]; then',
        "        compopt -o filenames 2>/dev/null",
        "        local IFS=$'\\n'",
        '        COMPREPLY+=($(compgen -f -- "$current"))',
        "    fi",
        "}",
        f"complete -F _{program} {program}",
    ]
    return "\n".join(lines) + "\n"


def _fish(program: str, verbs: Sequence[_Verb]) -> str:
    """Return lines of ``complete``; a function tells which verb is being written."""
    known = " ".join(_literal(" ".join(verb.words)) for verb in verbs if verb.words)
    lines = [
        f"function __{program}_verb",
        "    set -l verb",
        "    for word in (commandline -opc)[2..]",
        f"        contains -- (string join -- ' ' $verb $word) {known}; and set -a verb $word",
        "    end",
        '    test "$verb" = "$argv"',
        "end",
        f"complete -c {program} -f",
    ]
    for verb in verbs:
        begin = f"complete -c {program} -n {_literal(f'__{program}_verb ' + ' '.join(verb.words))}"
        lines += [f"{begin} -a {_literal(name)} -d {_literal(told)}" for name, told in verb.verbs.items()]
        for option in verb.options:
            lines.append(f"{begin}{_fish_option(option)}")
    return "\n".join(lines) + "\n"


def _fish_option(option: _Option) -> str:
    flags = "".join(f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}" for flag in option.flags)
    value = (" -r" if option.is_file else " -x") if option.flags and option.takes_value else ""
    files = " -F" if option.is_file else ""
    choices = f" -a {_literal(' '.join(option.choices))}" if option.choices else ""
    return f"{flags}{value}{files}{choices} -d {_literal(option.told)}"


def _literal(text: str) -> str:
    """Return a text as fish reads it, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
