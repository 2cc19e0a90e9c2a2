"""How much memory a process has."""

import re
from pathlib import Path


def resident(pid: int) -> int:
    """KiB of memory that a process has now."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
