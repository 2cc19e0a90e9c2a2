"""Two machines of one network and three words: no broker, no address typed, and a member at the end."""

import json
import os
import random
import re
from pathlib import Path

import pytest
from networks import Network
from programs import Programs, wait_for

from learnae.swarm.presets import dense_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("ip"),
    pytest.mark.modules("spake2"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]


def rows(path: Path) -> Path:
    rng = random.Random(str(path))
    found = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(80)]
    path.write_text("\n".join(["a,b,label", *(f"{x},{y},{int(x + y > 0)}" for x, y in found), ""]))
    return path


def test_three_words_let_a_machine_of_this_network_in(tmp_path: Path) -> None:
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
    with Network() as network, Programs(tmp_path / "ann") as ann, Programs(tmp_path / "bob") as bob:
        here, there = network.machine(0), network.machine(0)
        (ann.root / "m.json").write_text(json.dumps(dense_config(2, (4,), 2, "softmax")))
        ann.answer(
            "learnae", "swarm", "create", "--model", "m.json", "--loss", "sparse_categorical_crossentropy",
            "--columns", "a,b", "--membership", "invite",
        )  # fmt: skip
        ann.answer("learnae", "join", "--name", "ann", "--data", rows(ann.root / "rows.csv"))
        with (ann.config / "learnae" / "trainer.toml").open("a") as file:
            file.write('\n[lan]\nserve = "10.77.0.1:8733"\n')
        with here:
            trainer = ann.start("trainer_node", "start")
            offer = ann.start("learnae", "invite", "--aloud", "--address", "http://10.77.0.1:8733")
        while not (found := re.search(r"learnae join (\d+-\w+-\w+)", offer.line())):
            pass
        wait_for(lambda: ann.status("ann") or trainer.poll(), "ann to be there", 60)
        with there:
            done = bob.run("learnae", "join", found[1], "--name", "bob", "--data", rows(bob.root / "rows.csv"))
            assert done.returncode == 0, done.stderr
            bob.start("trainer_node", "start")
        assert offer.wait(30) == 0
        wait_for(lambda: bob.status("bob").get("following") == 1, "bob to follow ann", 90)
        wait_for(lambda: ann.status("ann").get("following") == 1, "ann to follow bob", 90)
