"""A real Kubo fetches blocks from a member, which a delegated router names as a trustless gateway."""

from __future__ import annotations

import json
import os
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from daemon import HOST
from hostile_http import hostile_server, says
from kubo import Kubo
from lan_rig import LanMember, new_swarm
from programs import finish, wait_for

from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid

pytestmark = [pytest.mark.slow, pytest.mark.engine("ipfs")]

PEER_ID = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"  # of an HTTP provider it is only a name


def got(kubo: Kubo, cid: Cid) -> bytes:
    """Return a block; nothing where its first look for holders found none: it looks again after a minute."""
    done = finish("ipfs", "block", "get", "--timeout=2s", cid, env=kubo.environment, text=False)
    assert done.returncode == 0 or b"deadline exceeded" in done.stderr, done.stderr
    return done.stdout if done.returncode == 0 else b""  # type: ignore[return-value]


def test_kubo_fetches_blocks_from_a_member(tmp_path: Path) -> None:
    with closing(LanMember(tmp_path / "member", new_swarm())) as member:
        frame, message = os.urandom(1 << 20), dagcbor.encode({"text": "weights"})
        cids = {member.store.put(RAW, frame): frame, member.store.put(DAG_CBOR, message): message}
        provider = {
            "Schema": "peer",
            "ID": PEER_ID,
            "Addrs": [f"/ip4/{HOST}/tcp/{member.port}/http"],
            "Protocols": ["transport-ipfs-gateway-http"],
        }
        record = json.dumps({"Providers": [provider]}).encode()
        with hostile_server(says(record, Content_Type="application/json")) as router:
            methods = ("find-peers", "find-providers", "get-ipns", "provide", "put-ipns")
            settings = {
                "HTTPRetrieval.Enabled": True,
                "Routing.Type": "custom",
                "Routing.Routers": {"lan": {"Type": "http", "Parameters": {"Endpoint": router.url}}},
                "Routing.Methods": {method: {"RouterName": "lan"} for method in methods},
            }
            with Kubo(tmp_path / "kubo", pubsub=False, settings=settings) as kubo:
                for cid, data in cids.items():
                    assert wait_for(partial(got, kubo, cid), "the block") == data
        assert member.errors.counts == {}
