"""Looking again and again: a live table on a terminal, one table a look elsewhere, one line a look with --json."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

from learnae.commands.output import console

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def look(
    options: argparse.Namespace, peers: Callable[[], Sequence[DataclassInstance]], draw: Callable[[], Table]
) -> int:
    """Show ``peers`` every ``options.every`` seconds, ``options.rounds`` times (0: until Ctrl-C); returns 0."""
    rounds = 0
    try:
        with _screen(options) as live:
            while options.rounds == 0 or rounds < options.rounds:
                if options.json:
                    print(json.dumps([dataclasses.asdict(peer) for peer in peers()]), flush=True)
                elif live:
                    live.update(draw(), refresh=True)
                else:
                    console.print(draw())
                rounds += 1
                if rounds != options.rounds:
                    time.sleep(options.every)
    except KeyboardInterrupt:
        pass
    return 0


def _screen(options: argparse.Namespace) -> AbstractContextManager[Live | None]:
    live = console.is_terminal and not options.json
    return Live(console=console, auto_refresh=False) if live else nullcontext()
