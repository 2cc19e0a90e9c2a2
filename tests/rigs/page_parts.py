"""A state of the page with all panels in it, and names as hostile as peers can make them."""

import random
import time
from typing import Any

HOSTILE = (
    "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "\u202etxt.exe", "W" * 64,
    "مرحبا بالعالم", "a\u0301\u0302\u0303\u0304\u0305\u0306", "{{7*7}}${alert(3)}", "&lt;b&gt;",
)  # fmt: skip
_STATES = ("merged", "muted", "settled", "away", "banned", "heard", "summaries", "joined")
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def state(peers: int = 8, **changes: Any) -> dict[str, Any]:
    """Return all parts, with so many peers."""
    rng, now = random.Random(1), int(time.time() * 1000)
    keys = ["".join(rng.choices(_LETTERS, k=52)) for _ in range(peers)]
    rows = {f"peers/{key}": _row(rng, number, key, now) for number, key in enumerate(keys)}
    events = [
        [now - 300_000 + 2000 * number, *rng.sample(range(min(peers, 12)), k=min(4, peers))] for number in range(150)
    ]
    classes = ["walk", "run", HOSTILE[0], "sit", "W" * 40]
    pairs = [[rng.randrange(9) + 30 * (row == column) for column in range(5)] for row in range(5)]
    totals = [sum(row) for row in pairs]
    return {
        "now": {
            "time": now,
            "state": "learning",
            "text": "learning: accuracy 0.940, +0.0123 in 10 min; merges 6 of 7 others",
            "remedy": "",
            "point": [now, 0.94, 0.21, 0.95, 0.96],
        },
        "peer": {
            "name": HOSTILE[0], "shown": f"{HOSTILE[0]}#{keys[0][:8]}", "role": "agent", "peer": keys[0],
            "software": "0.1.0", "swarm": "bafyreiheo7p3iykrc675husn7wkguijpx4yacrtjokzphhxilz3rcztn7e",
            "swarm_name": HOSTILE[1], "task": "classification", "parameters": 4295, "directory": "a b",
            "classes": classes, "invite": True,
        },
        "figures": {
            "steps": 105_820, "loss": 0.0000213, "accuracy": 0.94, "holdout_rows": 164, "training_rows": 387,
            "peers": 8, "following": 7, "messages": 27, "bytes_out": 249_158, "bytes_in": 42_218_200,
            "personal": {"model": "tuned", "score": 0.95}, "engine": "numpy", "device": "cpu", "unmeasured": "",
        },
        "intake": {
            "samples": 1200, "unlabelled": 31, "unknown_labels": {HOSTILE[6]: 4},
            "buffer": {"bytes": 8_000_000, "readings": 123_456, "trouble": ""},
            "sources": {"imu": {"state": "working", "detail": "50 Hz", "samples": 5000, "error": ""}},
            "inference": {"label": None, "score": 0.9, "threshold": 0.5, "count": 44},
            "resources": {"temperature": 61.5, "slowed_by": ["heat"]},
        },
        "privacy": {"epsilon": 3.1, "delta": 1e-5, "releases": 40, "protects": "window", "limit": 4.0},
        "budget": {"per_day": 20_000_000, "per_hour": 0},
        "links": {"mqtt broker.example:8883": "away: [Errno 111] Connection refused; check --broker, and the broker"},
        "warnings": [{"name": "FrameError", "count": 2, "text": f"of {HOSTILE[1]}: cut short"}],
        "versions": [{"name": "best", "time": now - 60_000, "steps": 9, "score": 0.96, "loss": 0.1}],
        "answers": {
            "rows": sum(totals), "of": 500, "classes": classes, "counts": totals,
            "recall": [pairs[place][place] / totals[place] for place in range(5)], "pairs": pairs,
        },
        "lineage": {"keys": keys[:12], "events": events},
        **rows,
        **changes,
    }  # fmt: skip


def _row(rng: random.Random, number: int, key: str, now: int) -> dict[str, Any]:
    name = HOSTILE[number] if number < len(HOSTILE) else f"board-{number}"
    condition = _STATES[number % len(_STATES)] if number else "merged"
    return {
        "name": f"{name}#{key[:8]}" if number < len(HOSTILE) else name, "key": key[:8], "me": number == 0,
        "role": "agent", "version": "0.1.0", "state": condition,
        "why": "a loss of 0.52, the best has 0.10" if condition in ("muted", "banned") else "",
        "heard": now - rng.randrange(100_000), "weight": rng.random() / 8 if condition == "merged" else None,
        "steps": rng.randrange(10**6), "samples": rng.randrange(1000), "score": rng.random(), "loss": rng.random(),
        "out": rng.randrange(10**7), "in": rng.randrange(10**8),
    }  # fmt: skip
