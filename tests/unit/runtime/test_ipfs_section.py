"""``[ipfs]`` and ``[exchange]``: what may be written there, and what becomes of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders import tiny_manifest
from programs import clean_environment

from agent.config import AgentConfig
from learnae.config.loading import load_config
from learnae.config.sections import ExchangeSection, GatewaySection, IotaSection, IpfsSection, LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.runtime.link_set import LinkSet
from learnae.runtime.links.connect import connect
from learnae.runtime.workspace import Workspace
from learnae.simulation.in_memory import MemoryExchange
from learnae.swarm.directory import create_swarm
from learnae.system.installation import how_to_install

API = "/ip4/127.0.0.1/tcp/5001"
PEER = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"api": "127.0.0.1:5001"}, "ipfs.api"),
        ({"api": API, "timeout": 0.1}, "ipfs.timeout"),
        ({"api": API, "timeout": float("nan")}, "ipfs.timeout"),
        ({"api": API, "connect": "/ip4/192.0.2.7/tcp/4001"}, "ipfs id"),
        ({"api": API, "connect": "192.0.2.7"}, "ipfs id"),
        ({"connect": PEER}, "set ipfs.api"),
        ({"token_file": "x"}, "set ipfs.api"),
        ({"gateways": "trainer.local:8080"}, "http://"),
        ({"gateways": "ftp://trainer.local"}, "http://"),
        ({"gateways": "http://me:secret@trainer.local"}, "http://"),
        ({"gateways": "http://trainer.local/?x=1"}, "http://"),
        ({"gateways": "http://trainer.local:99999"}, "http://"),
        ({"gateways": "http://[::1"}, "http://"),
        ({"gateways": "http://"}, "http://"),
        ({"gateways": "https://ipfs.example/ipfs/"}, "leave out its end"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(settings, word):
    with pytest.raises(ConfigurationError) as caught:
        IpfsSection(**settings)
    assert word in str(caught.value)


def test_several_gateways_and_daemons_have_spaces_between_them():
    section = IpfsSection(api=API, gateways=" http://one:80/  https://two/x/ ", connect=f"{PEER} {PEER}2")
    assert section.gateway_urls == ["http://one:80", "https://two/x"]
    assert section.addresses == [PEER, PEER + "2"]
    assert IpfsSection().gateway_urls == IpfsSection().addresses == []


def test_an_agent_has_no_daemon(tmp_path):
    (tmp_path / "agent.toml").write_text(f'[ipfs]\napi = "{API}"\n')
    with pytest.raises(ConfigurationError, match="unknown key 'api'"):
        load_config(AgentConfig, "agent", tmp_path / "agent.toml", environment={})


def test_an_order_of_exchanges_names_known_ones_and_the_rest_comes_last():
    with pytest.raises(ConfigurationError, match=r"exchange.order holds 'kubo'; use http, ipfs, mqtt, gateway"):
        ExchangeSection("mqtt kubo")
    links = LinkSet(exchanges=dict.fromkeys(("gateway b", "mqtt", "gateway a", "ipfs"), MemoryExchange({})))
    links = links.sorted_by(ExchangeSection().rank)
    assert list(links.exchanges) == ["ipfs", "mqtt", "gateway b", "gateway a"]
    links = links.sorted_by(ExchangeSection("gateway").rank)
    assert list(links.exchanges) == ["gateway b", "gateway a", "ipfs", "mqtt"]


def connected(ipfs: GatewaySection, workspace: Workspace) -> LinkSet:
    return connect(workspace, MqttSection(), ipfs, ExchangeSection(), IotaSection(), LanSection())


@pytest.mark.modules("ipfshttpclient")
def test_what_is_configured_is_connected_and_nothing_waits_for_a_daemon(tmp_path):
    workspace = Workspace(create_swarm(tiny_manifest(), tmp_path / "swarm"), tmp_path / "peer")
    links = connected(IpfsSection(api=API, gateways="http://127.0.0.1:9"), workspace)
    assert list(links.exchanges) == ["ipfs", "gateway http://127.0.0.1:9"]
    assert list(links.gossips) == ["ipfs pubsub"]
    links.close()
    links = connected(IpfsSection(api=API, pubsub=False), workspace)
    assert not links.gossips
    assert not connected(IpfsSection(), workspace).exchanges


def test_without_the_library_the_remedy_is_said(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith(("ipfshttpclient", "learnae.adapters.ipfs", "learnae.runtime.links.kubo")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ipfshttpclient", None)
    workspace = Workspace(create_swarm(tiny_manifest(), tmp_path / "swarm"), tmp_path / "peer")
    said = re.escape(f"ipfshttpclient is not installed; {how_to_install('ipfs')}")
    with pytest.raises(ConfigurationError, match=said):
        connected(IpfsSection(api=API), workspace)


def test_a_gateway_costs_a_board_no_heavy_library():
    script = """
import sys
from agent.wiring import build
from learnae.adapters.ipfs.gateway import GatewayExchange
GatewayExchange("http://127.0.0.1:9", 1).close()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"ipfshttpclient", "requests", "urllib3", "multiaddr"}))
"""
    environment = clean_environment(PYTHONPATH=str(Path(__file__).parents[3]))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
