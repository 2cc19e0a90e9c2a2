"""Types of the programs' arguments; argparse reports what they refuse."""

import argparse
from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.system.paths import expanded

_DAY_SECONDS = 86_400


def place(text: str) -> Path:
    """Read a path; ``~`` is a home here too, as not every shell expands it after =."""
    try:
        return Path(expanded(text, "the path"))
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    """Read a number of things."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def seconds(text: str) -> float:
    """Read a time to wait."""
    try:
        if 0 <= (value := float(text)) <= _DAY_SECONDS:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to a day")
