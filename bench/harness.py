"""Checks, a table for people, and a file for comparing runs."""

import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

import learnae

Found = TypeVar("Found")
Task = TypeVar("Task", bound=tuple[Any, ...])

AT_MOST, AT_LEAST = "at most", "at least"


@dataclass(frozen=True, slots=True)
class Check:
    """A measured ``value`` and the ``bound`` that it is held against, both in ``unit``."""

    name: str
    value: float
    bound: float
    comparison: str
    unit: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        """Return True if the value is on the right side of the bound; NaN never is."""
        return self.value <= self.bound if self.comparison == AT_MOST else self.value >= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value that nothing is demanded of."""

    name: str
    value: float
    unit: str = ""


@dataclass(eq=False)
class Race:
    """Collects what one run measures. ``quick`` asks for a small version that only shows that it runs.

    ``rows`` asks a race over rows for another number of them; 0 for its own. ``part`` asks a race of several parts for
    one of them, ``seconds`` one of long runs for shorter ones, ``data`` one over given rows for those of a file.
    """

    name: str
    quick: bool
    rows: int = 0
    part: str = ""
    seconds: float = 0.0
    data: str = ""

    def __post_init__(self) -> None:
        self.checks: list[Check] = []
        self.figures: list[Figure] = []
        self.notes: list[str] = []
        self._console = wide_console()
        self._started = time.monotonic()

    def run_parts(self, parts: Mapping[str, Callable[["Race"], None]]) -> None:
        """Run all ``parts``, or the one that was asked for; ends the program for one that is none of them."""
        if self.part and self.part not in parts:
            raise SystemExit(f"{self.name} has no part {self.part!r}: {', '.join(parts)}")
        for name in [self.part] if self.part else parts:
            parts[name](self)

    @contextmanager
    def step(self, description: str) -> Iterator[Callable[[str], None]]:
        """Show that something is going on; give a function that says how far it is."""
        start = time.monotonic()
        with self._console.status(f"{description} …") as status:
            yield lambda progress: status.update(f"{description} … {progress}")
        self._console.print(f"[dim]{time.monotonic() - start:6.1f} s[/dim]  {description}")

    def check(self, name: str, value: float, bound: float, comparison: str, unit: str = "", note: str = "") -> None:
        """Hold ``value`` against ``bound``, AT_MOST or AT_LEAST."""
        self.checks.append(Check(name, float(value), bound, comparison, unit, note))

    def figure(self, name: str, value: float, unit: str = "") -> None:
        """Add a figure."""
        self.figures.append(Figure(name, float(value), unit))

    def note(self, text: str) -> None:
        """Say what could not be measured, and why."""
        self.notes.append(text)

    def finish(self, directory: Path) -> Path:
        """Print both tables, write DIRECTORY/NAME.json, and return its path."""
        self._print_figures()
        self._print_checks()
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        path.write_text(json.dumps(self._to_fields(), indent=2) + "\n")
        self._console.print(f"written to {path}")
        return path

    def _to_fields(self) -> dict[str, Any]:
        return {
            "race": self.name,
            "quick": self.quick,
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
            "figures": list(map(asdict, self.figures)),
            "notes": self.notes,
            "seconds": round(time.monotonic() - self._started, 1),
            **describe_machine(),
        }

    def _print_figures(self) -> None:
        table = Table("figure", "value", "unit", title=f"{self.name}: figures")
        table.columns[1].justify = "right"
        for figure in self.figures:
            table.add_row(figure.name, readable(figure.value), figure.unit)
        self._console.print(table)

    def _print_checks(self) -> None:
        title = f"{self.name}: checks" + (" (quick: too small to mean anything)" if self.quick else "")
        table = Table("check", "value", "bound", "holds", "note", title=title)
        table.columns[1].justify = "right"
        for check in self.checks:
            bound = f"{check.comparison} {readable(check.bound)} {check.unit}".rstrip()
            verdict = "[green]yes[/green]" if check.holds else "[bold red]NO[/bold red]"
            table.add_row(check.name, readable(check.value), bound, verdict, check.note)
        self._console.print(table)
        failed = [check.name for check in self.checks if not check.holds]
        if failed:
            self._console.print(f"[bold red]{len(failed)} of {len(self.checks)} do not hold:[/] {'; '.join(failed)}")
        else:
            self._console.print(f"[green]all {len(self.checks)} hold[/green]")
        for note in self.notes:
            self._console.print(f"[yellow]{note}[/yellow]")


def wide_console() -> Console:
    """Return the terminal, or for a file a console with lines long enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=150)


def readable(value: float) -> str:
    """Return four digits that matter, thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    return {
        "machine": f"{platform.machine()}, {processor()}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "learnae": learnae.__version__,
    }


def processor() -> str:
    """Return the processor's name as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor()


def seconds_of(action: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def interleaved(repeats: int, *actions: Callable[[], float]) -> list[list[float]]:
    """Return what each action returns, ``repeats`` times, in turn: so that the machine's load hits all alike."""
    results: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        for action, own in zip(actions, results, strict=True):
            own.append(action())
    return results


def in_processes(race: Race, what: str, function: Callable[..., Found], tasks: Sequence[Task]) -> dict[Task, Found]:
    """Call ``function`` with each of ``tasks``, its arguments: two at once, each in a process of its own."""
    found = {}
    with race.step(f"{len(tasks)} {what}") as say, ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(function, *task): task for task in tasks}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            say(f"{len(found)} of {len(tasks)} done")
    return found
