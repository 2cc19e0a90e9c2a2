"""The reader of tables: as fast as NumPy's parser alone, in bounded memory, and of one opinion with pandas.

``NumPy's parser alone`` is what the reader was before it knew dialects: blocks of lines through ``numpy.loadtxt``.
The comparison with pandas reads generated files, dialects by types; where the reader refuses one, that is counted, and
where it reads another value, that fails. pandas is no dependency: ``pip install pandas`` for this race.
"""

import csv
import importlib
import io
import random
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, interleaved, seconds_of
from learnae.errors import DataError
from learnae.tables.numbers import Numbers
from learnae.tables.opening import open_table
from learnae.tables.table import Kind

_BLOCK = 1 << 18
_REPEATS = 5
_ROWS_A_SECOND = 150_000
_SLOW_ROWS_A_SECOND = 50_000  # through Python's parser
_PLAIN = "plain"
_SHARE_OF_NUMPY = 0.75
_MORE_MEGABYTES = 24.0
_FILES = 500
_READ_ALL = "from bench.tables import peak_megabytes; import sys; print(peak_megabytes(sys.argv[1]))"


def run(race: Race) -> None:
    """Measure speed and memory, then compare with pandas."""
    rows = race.rows or (5_000 if race.quick else 400_000)
    with tempfile.TemporaryDirectory(prefix="learnae-bench-tables-") as name:
        directory = Path(name)
        _race_speed(race, directory, rows)
        _race_memory(race, directory)
        _compare(race, directory, 20 if race.quick else _FILES)


def _write(path: Path, rows: int, separator: str = ",", decimal: str = ".", has_notes: bool = False) -> None:
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        file.write(separator.join(["time", "x", "y", "z", *(["note"] if has_notes else []), "label"]) + "\n")
        for start in range(0, rows, 1000):
            values = rng.standard_normal((1000, 3)).tolist()
            for index, row in enumerate(values, start):
                fields = [f"{index / 50:.3f}", *(f"{value:.5f}" for value in row)]
                fields = [field.replace(".", decimal) for field in fields]
                note = [f'"a note{separator} of\ntwo lines"'] if has_notes else []
                file.write(separator.join([*fields, *note, str(index % 3)]) + "\n")


def _race_speed(race: Race, directory: Path, rows: int) -> None:
    kinds: dict[str, tuple[float, dict[str, Any]]] = {
        _PLAIN: (_ROWS_A_SECOND, {}),
        "semicolons and decimal commas": (_ROWS_A_SECOND, {"separator": ";", "decimal": ","}),
        "quoted notes of two lines": (_SLOW_ROWS_A_SECOND, {"has_notes": True}),
    }
    for name, (bound, options) in kinds.items():
        path = directory / "data.csv"
        _write(path, rows, **options)
        with race.step(f"{rows} rows, {name}"):
            sides = [partial(seconds_of, partial(_read, path))]
            sides += [partial(seconds_of, partial(_numpy, path))] if name == _PLAIN else []
            both = [*interleaved(_REPEATS, *sides), []][:2]
        new, old = (rows / min(times) if times else 0.0 for times in both)
        race.check(f"rows a second, {name}", new, bound, AT_LEAST, "rows/s")
        if name == _PLAIN:
            race.figure("rows a second, NumPy's parser alone", old, "rows/s")
            race.check("speed, to that of NumPy's parser alone", new / old, _SHARE_OF_NUMPY, AT_LEAST)


def _read(path: Path) -> None:
    table = open_table(path)
    wanted: list[tuple[str, Kind]] = [(name, Numbers()) for name in ("time", "x", "y", "z", "label")]
    for _ in table.pieces(wanted):
        pass


def _numpy(path: Path) -> None:
    with path.open(newline="", encoding="utf-8-sig") as file:
        file.readline()
        rest = ""
        while block := file.read(_BLOCK):
            lines = io.StringIO(rest + block, newline="").readlines()
            rest = "" if lines[-1].endswith("\n") else lines.pop()
            np.loadtxt(lines, np.float64, delimiter=",", comments=None, ndmin=2)


def peak_megabytes(path: str) -> float:
    """Read a table; return how much more memory that took than the interpreter."""
    before = _peak_kibibytes()
    _read(Path(path))
    return (_peak_kibibytes() - before) / 1024


def _peak_kibibytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage's is also that of the process that began it
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _race_memory(race: Race, directory: Path) -> None:
    for rows in (20_000,) if race.quick else (100_000, 1_000_000):
        path = directory / "large.csv"
        _write(path, rows)
        command = [sys.executable, "-c", _READ_ALL, str(path)]
        with race.step(f"memory for {rows} rows"):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        race.check(f"memory for {rows} rows", float(done.stdout), _MORE_MEGABYTES, AT_MOST, "MiB")


# -- pandas


def _compare(race: Race, directory: Path, files: int) -> None:
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        race.note("not compared with pandas, which is not here: pip install pandas")
        return
    counts: Counter[str] = Counter()
    with race.step(f"{files} files, read by pandas too") as say:
        for seed in range(files):
            counts[_compare_one(pandas, directory / "data.csv", random.Random(seed))] += 1
            say(f"{seed + 1} of {files}")
    for outcome in ("equal", "refused"):
        race.figure(f"files, {outcome}", counts[outcome])
    race.check("files that pandas reads otherwise", counts["other"], 0, AT_MOST)
    race.check("files that are refused", counts["refused"], files * 0.05, AT_MOST)


def _compare_one(pandas: Any, path: Path, rng: random.Random) -> str:
    separator, end = rng.choice(",;\t|"), rng.choice(("\n", "\r\n"))
    decimal = "." if separator == "," else rng.choice(".,")
    encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16"))
    digits, count = rng.choice((0, 1, 4, 9)), rng.choice((1, 3, 30, 500))
    notes = ("", "plain", "two\nlines", 'a "word"', f"a{separator} b", "ü", "5", "NA")

    def number() -> str:
        value = rng.choice(
            (f"{rng.uniform(-1e4, 1e4):.{digits}f}", f"{rng.gauss(0, 1):.3e}", repr(rng.random()), "", "7")
        )
        return value.replace(".", decimal)

    with path.open("w", newline="", encoding=encoding) as file:
        quoting: Literal[0, 1] = csv.QUOTE_ALL if rng.random() < 0.5 else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)
        writer.writerow(["a", "note", "b"])
        writer.writerows([number(), rng.choice(notes), number()] for _ in range(count))
        file.write(end * rng.randint(0, 1))
    frame = pandas.read_csv(path, sep=separator, decimal=decimal, encoding=encoding, float_precision="round_trip")
    try:
        wanted: list[tuple[str, Kind]] = [(name, Numbers()) for name in "ab"]
        got = np.concatenate([piece.values for piece in open_table(path).pieces(wanted)])
    except DataError:
        return "refused"
    expected = frame[["a", "b"]].to_numpy(dtype=np.float64)
    return "equal" if np.array_equal(got, expected, equal_nan=True) else "other"
