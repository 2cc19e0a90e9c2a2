"""The wheel and the sdist, built once."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
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
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, so that nothing is left in the tree and nothing stale gets in."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("tree") / "source", ignore=NOT_SOURCE))


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    if find_spec("setuptools"):
        build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
        succeed(sys.executable, "-c", build, directory, cwd=source)
    elif uv := shutil.which("uv"):
        succeed(uv, "build", "--quiet", "--sdist", "--out-dir", directory, source)
    else:
        pytest.skip("nothing here builds an sdist")
    (built,) = directory.glob("learnae-*.tar.gz")
    return built


@pytest.fixture(scope="session")
def wheel_of_sdist(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(sdist, tmp_path_factory.mktemp("wheel-of-sdist"))


def build_wheel(source: Path, directory: Path) -> Path:
    """Build from a directory or an sdist."""
    isolation = ["--no-build-isolation"] if can_build_here() else []
    options = ("--no-deps", "--quiet", "--disable-pip-version-check", *isolation, "--wheel-dir", directory)
    succeed(sys.executable, "-m", "pip", "wheel", *options, source)
    (built,) = directory.glob("learnae-*.whl")
    return built
