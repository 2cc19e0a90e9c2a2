"""What several tests of processes and engines share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mosquitto import Mosquitto
from mqtt_rig import Links


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker without encryption, for this test alone."""
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def links() -> Iterator[Links]:
    """Connections that end with the test."""
    with Links() as opened:
        yield opened
