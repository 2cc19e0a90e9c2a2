"""A live view on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.live_render import LiveRender


@contextmanager
def live_view(console: Console) -> Iterator[Callable[[RenderableType], None]]:
    """Yield a function that draws on the terminal's second screen; the last drawing stays on the first one, whole.

    Where there is no terminal, only the last drawing is seen.

    On the second screen a drawing begins at its upper left corner. On the first one it would begin as many lines above
    the cursor as the last one had, and the cursor is not where that one ended: a terminal writes ^C there, and
    throws away what it has not shown yet. Interrupt it between two drawings only: see ``signals.held_back``.
    """
    last: RenderableType | None = None

    def draw(view: RenderableType) -> None:
        nonlocal last
        last = view
        live.update(LiveRender(view), refresh=True)  # it marks where there is more than fits

    try:
        with Live(console=console, screen=True, transient=True, auto_refresh=False) as live:
            yield draw
    finally:
        if last is not None:
            console.print(last)
