"""Where ``learnae-agent`` begins: what a board has no use for is kept out of memory before anything imports it.

What each part costs is in docs/adr/0024-what-an-agent-keeps-in-memory.md.
"""

import sys
from pathlib import Path

from learnae.system.docstrings import keep_docstrings_out
from learnae.system.lazy_imports import LazyFinder, keep_libcrypto_out, waits
from learnae.system.signals import abrupt

# What is imported whole and never or seldom used, and what others take out of it at once and call later or never.
# numpy's before its version 2, by which most are its own care; of numpy.random only the generator that is the default
_IMPORTED_LATER: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("numpy.ma", "numpy.polynomial", "numpy.fft", "numpy.ctypeslib"), ()),
    **{f"numpy.{core}.{part}": () for core in ("core", "_core") for part in ("_add_newdocs", "_add_newdocs_scalars")},
    "numpy.linalg": ("eigvals", "inv", "lstsq", "matrix_power"),
    "numpy.random.mtrand": ("RandomState",),
    "numpy.random._mt19937": ("MT19937",),
    "numpy.random._philox": ("Philox",),
    "numpy.random._sfc64": ("SFC64",),
    # numpy wants them for records of text, for reports of its installation, and for pickled generators
    **dict.fromkeys(("ast", "platform", "pickle", "numpy.random._pickle"), ()),
    # paho: with http, email and ssl; for names of clients that have none
    **dict.fromkeys(("urllib.request", "uuid"), ()),
    # dataclasses, for those without a docstring, with dis; zipfile and shutil, for archives that are not written here
    **dict.fromkeys(("inspect", "bz2", "lzma", "shutil", "locale"), ()),
    "numpy.typing": ("ArrayLike", "NDArray"),
}


def main() -> None:
    """Run the program: the entry point."""
    with abrupt():
        keep_small()
        from learnae.system.service import run_program  # noqa: PLC0415 - after what it imports has been settled

    run_program("learnae-agent", _begin)


def _begin() -> int:
    match sys.argv[1:]:  # as the unit says it: argparse, gettext and locale are a megabyte
        case ["run"]:
            return _run("")
        case ["run", "--config", file] if not file.startswith("-"):
            return _run(file)
    with abrupt():
        from agent.cli import main as run_command  # noqa: PLC0415 - after what it imports has been settled

    return run_command()


def _run(file: str) -> int:
    with abrupt():
        from agent.running import run_agent  # noqa: PLC0415 - as above
        from learnae.system.logs import set_up_logging  # noqa: PLC0415

    set_up_logging(False)
    return run_agent(Path(file) if file else None)


def keep_small() -> None:
    """Settle what is imported later or never; call it before anything else is imported. Idempotent."""
    if not all(map(waits, _IMPORTED_LATER)):
        sys.meta_path.insert(0, LazyFinder(_IMPORTED_LATER))
    keep_docstrings_out()
    keep_libcrypto_out()
