"""A Python process that may not take more memory than it is given: what asks for more ends in MemoryError there."""

import subprocess
import sys

_PRELUDE = "import resource; resource.setrlimit(resource.RLIMIT_AS, ({bytes}, {bytes}))\n"


def run_limited(code: str, megabytes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``code``, whose sys.argv are the ``arguments``, with so much address space."""
    prelude = _PRELUDE.format(bytes=megabytes << 20)
    command = [sys.executable, "-c", prelude + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
