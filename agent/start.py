"""Where ``learnae-agent`` begins: what a board has no use for is kept out of memory before anything imports it.

What each part costs is in docs/adr/0024-what-an-agent-keeps-in-memory.md.
"""

import sys
from typing import NoReturn

from learnae.system.lazy_imports import LazyFinder, keep_libcrypto_out, waits
from learnae.system.signals import abrupt

# numpy 1.26 imports its first four whole (numpy 2 does not), and pickle; paho urllib.request, with http, email and ssl;
# dataclasses inspect, with ast and dis, which looks at those that have no docstring
_IMPORTED_LATER = (
    "numpy.ma", "numpy.polynomial", "numpy.fft", "numpy.ctypeslib", "urllib.request", "pickle", "inspect"
)  # fmt: skip


def main() -> None:
    """Run the program: the entry point."""
    with abrupt():
        keep_small()
        from learnae.system.service import run_program  # noqa: PLC0415 - after what it imports has been settled

    run_program("learnae-agent", _begin)


def _begin() -> NoReturn:
    with abrupt():
        from agent.cli import main as run  # noqa: PLC0415 - as above

    run()


def keep_small() -> None:
    """Settle what is imported later or never; call it before anything else is imported. Idempotent."""
    if not all(map(waits, _IMPORTED_LATER)):
        sys.meta_path.insert(0, LazyFinder(_IMPORTED_LATER))
    keep_libcrypto_out()
