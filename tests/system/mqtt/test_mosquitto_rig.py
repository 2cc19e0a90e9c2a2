"""The broker that other tests start: it listens, it dies, it comes back."""

import socket
from pathlib import Path

import pytest
from daemon import HOST
from mosquitto import Certificates, Mosquitto


@pytest.mark.engine("mosquitto", "openssl")
def test_a_broker_starts_dies_and_comes_back_at_the_same_port(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", Certificates(tmp_path / "certificates", ["pump"])) as broker:
        for port in (broker.port, broker.tls_port):
            socket.create_connection((HOST, port), 5).close()
        broker.kill()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((HOST, broker.port), 5)
        broker.start()
        socket.create_connection((HOST, broker.port), 5).close()
