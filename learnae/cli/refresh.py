"""Output that refreshes: a live table on a terminal, one table a round elsewhere, one line a round with --json."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import count
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from learnae.cli.live_display import live_view
from learnae.cli.output import console
from learnae.system.signals import held_back

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def look(
    options: argparse.Namespace, peers: Callable[[], Sequence[DataclassInstance]], draw: Callable[[], Table]
) -> int:
    """Show ``peers`` every ``options.every`` seconds, ``options.rounds`` times (0: until Ctrl-C); return 0."""
    with suppress(KeyboardInterrupt), held_back() as pause, _view(options) as show:
        for rounds in count(1):
            if options.json:
                print(json.dumps([dataclasses.asdict(peer) for peer in peers()]), flush=True)
            else:
                show(draw())
            if rounds == options.rounds:
                break
            pause(options.every)
    return 0


def _view(options: argparse.Namespace) -> AbstractContextManager[Callable[[RenderableType], None]]:
    is_live = console.is_interactive and not options.json
    return live_view(console) if is_live else nullcontext(console.print)
