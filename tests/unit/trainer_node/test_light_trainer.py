"""What a trainer loads into memory that it has no use for: others that train beside it pay for it, too."""

import sys

from programs import finish

USELESS = {
    "pydantic", "typer", "rich", "matplotlib", "jax", "keras", "pandas", "ssl", "_hashlib",
    "trainer_node.learning.jax_learner",
}  # fmt: skip
PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules)))
from trainer_node.start import main
sys.argv = ["trainer-node", "start", "--config", sys.argv[1]]
main()
"""


def test_a_trainer_loads_neither_what_draws_tables_nor_other_engines_nor_ciphers_it_does_not_use(tmp_path):
    config = tmp_path / "trainer.toml"
    config.write_text('[data]\nfile = "none.npz"\n[train]\nengine = "numpy"\n')
    ended = finish(sys.executable, "-c", PROGRAM, config, cwd=tmp_path)
    assert "there is no swarm" in ended.stderr
    assert "trainer_node.wiring" in ended.stdout.split()
    assert not USELESS & set(ended.stdout.split())
