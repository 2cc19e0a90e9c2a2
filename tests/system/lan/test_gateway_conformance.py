"""The raw-block part of github.com/ipfs/gateway-conformance against a member's server.

``LEARNAE_GATEWAY_CONFORMANCE`` names a checkout in which ``go test -c -o conformance.test ./tests`` was run: the suite
is in no registry, and neither it nor its fixtures are ours.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lan_rig import LanMember, new_swarm

from learnae.ipld.cid import RAW

CHECKOUT = Path(os.environ.get("LEARNAE_GATEWAY_CONFORMANCE", "/nowhere"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHECKOUT / "conformance.test").exists(),
        reason="LEARNAE_GATEWAY_CONFORMANCE names no built gateway-conformance",
    ),
]


def blocks_of(car: bytes) -> Iterator[bytes]:
    """The bytes of all blocks of a CAR file of version 1 whose CIDs have 36 bytes."""
    position, is_header = 0, True
    while position < len(car):
        length, shift = 0, 0
        while True:
            byte = car[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        if not is_header:
            yield car[position + 36 : position + length]
        position, is_header = position + length, False


def test_the_raw_block_part_passes(tmp_path: Path) -> None:
    with closing(LanMember(tmp_path, new_swarm())) as member:
        for data in blocks_of((CHECKOUT / "fixtures" / "gateway-raw-block.car").read_bytes()):
            member.store.put(RAW, data)
        done = subprocess.run(
            ["./conformance.test", "-test.v", "-test.run", "^TestTrustlessRaw", "-specs", "trustless-block-gateway"],
            cwd=CHECKOUT,
            env={**os.environ, "GATEWAY_URL": member.url, "GATEWAY_CONFORMANCE_HOME": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    verdicts = dict(re.findall(r"--- (PASS|FAIL|SKIP): (\S+)", done.stdout)[::-1])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "FAIL" not in verdicts
    assert len(re.findall(r"--- PASS", done.stdout)) >= 8, "the suite has run"
