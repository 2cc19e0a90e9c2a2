"""What the programs' arguments may be; argparse says the rest."""

from __future__ import annotations

import argparse

_DAY = 86_400


def count(text: str) -> int:
    """A number of things."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def seconds(text: str) -> float:
    """A time to wait."""
    try:
        if 0 <= (value := float(text)) <= _DAY:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to a day")
