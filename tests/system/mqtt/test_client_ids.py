"""A broker that gives each certificate its own client id: the configuration of docs/mqtt.md."""

import pytest
from mosquitto import Certificates, Mosquitto
from mqtt_rig import secure
from programs import wait_for

pytestmark = pytest.mark.engine("mosquitto")


@pytest.mark.parametrize("own_ids", [True, False])
def test_who_takes_anothers_client_id_throws_nobody_off(tmp_path, links, own_ids):
    certificates = Certificates(tmp_path / "certificates", ["alice", "mallory"])
    with Mosquitto(tmp_path / "broker", certificates, own_ids=own_ids) as broker:
        alice = links.open(secure(broker, certificates, "alice"), client_id="alice")
        wait_for(lambda: alice.is_connected, "alice")
        mallory = links.open(secure(broker, certificates, "mallory"), client_id="alice")
        wait_for(lambda: mallory.is_connected, "mallory")
        assert ("already connected, closing old connection" in broker.log) != own_ids
        assert alice.is_connected or not own_ids
