"""Real peers on machines of their own, a real broker, and a minute in which all breaks: nothing is lost."""

import math
import os
from pathlib import Path

import pytest
from programs import PATIENCE, wait_for

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

        def have_all_spoken() -> bool:  # how soon a peer that was killed speaks again is the machine's affair
            made.revive(set())
            for host in made.hosts:
                found.witness.look(host.swarm)
            said = found.witness.newest.values()
            return len(said) == PEOPLE and min(said) >= 1

        wait_for(have_all_spoken, "two messages of each", 2 * PATIENCE)
    assert found.witness.equivocations == []
    assert found.lost == 0
    assert not math.isnan(found.same_after), "not all have what each has said"
