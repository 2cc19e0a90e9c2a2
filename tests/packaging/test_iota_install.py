"""Nightly: the two lines that install pyota, in a fresh environment of every Python that is at hand.

For every change CI makes its own environments by the same two lines.
"""

import subprocess
from pathlib import Path

import pytest
from iri_node import IriNode
from nightly import how_many
from programs import clean_environment, succeed

from learnae.adapters.iota.pyota import INSTALL_PYOTA

ROOT = Path(__file__).parents[2]
VERSIONS = ["3.11", "3.12", "3.13"]
ATTACH_AND_READ_BACK = """
import importlib.util, sys, time
assert importlib.util.find_spec("sha3") and sys.argv[1]
from learnae.adapters.iota.node import NULL, Node
node = Node(sys.argv[1])
tag = "LEARNAE9TEST9OF9INSTALLING9"
name = node.attach(node.propose(b"from a fresh environment", tag, "A" * 80 + "9"))
assert node.find_tag(tag) == [name], "not found"
(found,) = node.read([name])
assert found.message.rstrip(bytes(1)) == b"from a fresh environment"
deadline = time.monotonic() + 120
while not node.confirmed([name])[0]:
    assert time.monotonic() < deadline, "not confirmed"
    time.sleep(0.1)
print("pyota", sys.modules["iota"].__version__, "on", sys.version.split()[0])
"""


def run(*command: object, **options: object) -> str:
    return succeed(*command, env=clean_environment(PYTHONPATH=""), **options).stdout


@pytest.mark.skipif(not how_many(0, 1), reason="takes a quarter of a minute: make nightly")
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_two_lines(version: str, tmp_path: Path, wheel: Path) -> None:
    found = subprocess.run([ROOT / "scripts" / "find-python", version], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"Python {version} is not here")
    run(found.stdout.strip(), "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    for words in (["pip", "install", f"{wheel}[iota]"], INSTALL_PYOTA.split()):
        run(python, "-m", *words, "--quiet", "--disable-pip-version-check")
    with IriNode(tmp_path / "node") as node:
        said = run(python, "-c", ATTACH_AND_READ_BACK, node.url, cwd=tmp_path)
    assert said.startswith(f"pyota 2.1.0 on {version}.")
