"""What a trainer loads into memory that it has no use for: others that train beside it pay for it, too."""

import sys

from programs import succeed

USELESS = {"pydantic", "rich", "matplotlib", "jax", "keras", "pandas"}
PROGRAM = """
import sys
from trainer_node import cli, wiring
try:
    cli.app(["start", "--config", sys.argv[1]], standalone_mode=False)
except Exception as error:
    print(type(error).__name__)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_trainer_loads_neither_what_draws_tables_nor_other_engines(tmp_path):
    config = tmp_path / "trainer.toml"
    config.write_text('[data]\nfile = "none.npz"\n[train]\nengine = "numpy"\n')
    ended, modules = succeed(sys.executable, "-c", PROGRAM, config, cwd=tmp_path).stdout.splitlines()
    assert ended == "ConfigurationError"
    assert not USELESS & set(modules.split())
