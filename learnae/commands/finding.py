"""What ``learnae doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, MISSING, BROKEN = "ok", "missing", "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``state`` is ok, missing or broken."""

    thing: str
    state: str
    detail: str
    remedy: str
