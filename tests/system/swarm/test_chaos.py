"""Real peers on machines of their own, a real broker, and a minute in which all breaks: nothing is lost."""

import os
from pathlib import Path

import pytest

from bench.chaos import Run, watch
from bench.chaos.machines import world
from bench.chaos.schedule import plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("ip", "mosquitto"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces and small disks"),
]

SECONDS, PEOPLE = 24.0, 3


def test_nothing_is_lost_and_nothing_is_said_twice(tmp_path: Path) -> None:
    with world(tmp_path, PEOPLE) as made:
        faults = [fault for fault in plan(1, SECONDS, PEOPLE, 5) if made.can(fault.kind)]
        found = watch(made, Run(faults), SECONDS)
    assert len(found.witness.newest) == PEOPLE
    assert min(found.witness.newest.values()) >= 1
    assert found.witness.equivocations == []
    assert found.lost == 0
    assert found.same_after == found.same_after, "not all have what each has said"
