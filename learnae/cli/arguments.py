"""Types of the programs' arguments; argparse reports what they refuse."""

import argparse
from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.system.paths import expanded

_DAY_SECONDS = 86_400
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_MS = 365 * _UNITS["d"]


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


def span(text: str) -> int:
    """Read how long something is good, such as 30m, 24h and 7d; return milliseconds."""
    number, unit = text[:-1], text[-1:]
    if number.isdecimal() and unit in _UNITS and 0 < (found := int(number) * _UNITS[unit]) <= _LONGEST_MS:
        return found
    raise argparse.ArgumentTypeError(f"{text!r} is no time from 1m to 365d, such as 30m, 24h or 7d")


def seconds(text: str) -> float:
    """Read a time to wait."""
    try:
        if 0 <= (value := float(text)) <= _DAY_SECONDS:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to a day")
