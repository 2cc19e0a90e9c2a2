"""A home for each test that wants one."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_configuration(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no configuration of the person who runs the tests count."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-configuration"))


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let LEARNAE_HOME be a place of the test's own, which is not there yet."""
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
