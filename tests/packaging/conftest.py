"""The wheel, built once."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from programs import succeed

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "venv*", "node_modules")


def can_build_here() -> bool:
    """Whether this environment's own setuptools builds wheels: then nothing needs to be downloaded."""
    try:
        major = int(version("setuptools").split(".")[0])
        return major >= 71 or (major >= 68 and bool(version("wheel")))  # 71 brings bdist_wheel along
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree, so that nothing is left in the tree and nothing stale gets in."""
    directory = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, directory / "source", ignore=NOT_SOURCE)
    isolation = ["--no-build-isolation"] if can_build_here() else []
    options = ("--no-deps", "--quiet", "--disable-pip-version-check", *isolation, "--wheel-dir", directory)
    succeed(sys.executable, "-m", "pip", "wheel", *options, directory / "source")
    (built,) = directory.glob("learnae-*.whl")
    return built
