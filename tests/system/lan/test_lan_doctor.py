"""``learnae doctor`` on ``[lan]``: what cannot be served or reached is named, with what to do."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from daemon import HOST, free_port
from lan_rig import LanMember
from programs import Programs

from learnae.cli.output import BROKEN, MISSING, OK
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.identity import peer_name

SWARM = Cid.of(DAG_CBOR, b"a manifest")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    found = Programs(tmp_path)
    (found.config / "learnae").mkdir(parents=True)
    return found


def examine(programs: Programs, **lan: str) -> dict[str, tuple[str, str]]:
    lines = [f"{key} = {json.dumps(value)}" for key, value in lan.items()]
    (programs.config / "learnae" / "trainer.toml").write_text("\n".join(["[lan]", *lines, ""]))
    found = json.loads(programs.run("learnae", "doctor", "--json").stdout)
    shown = {each["thing"]: (each["state"], f"{each['detail']}; {each['remedy']}") for each in found}
    return {thing: each for thing, each in shown.items() if thing.startswith("LAN")}


def test_nothing_is_said_of_what_is_not_configured(programs: Programs) -> None:
    assert examine(programs) == {}


def test_a_port_that_is_free_or_taken_is_told_apart(programs: Programs) -> None:
    port = free_port()
    state, said = examine(programs, serve=f"{HOST}:{port}")["LAN serving"]
    assert (state, f"{HOST}:{port} is free" in said) == (MISSING, True), said
    with socket.create_server((HOST, port)):
        state, said = examine(programs, serve=f"{HOST}:{port}")["LAN serving"]
    assert (state, "Address already in use" in said, "another lan.serve" in said) == (BROKEN, True, True), said


def test_members_that_answer_and_those_that_do_not_are_named(programs: Programs, tmp_path: Path) -> None:
    plain, encrypted = (LanMember(tmp_path / name, SWARM, encrypted=name == "tls") for name in ("plain", "tls"))
    silent = free_port()
    peer = peer_name(encrypted.identity.author)
    try:
        found = examine(
            programs,
            peers=f"http://{HOST}:{plain.port} https://{HOST}:{encrypted.port}/{peer} http://{HOST}:{silent}",
        )
        right = [found[f"LAN member {HOST}:{member.port}"] for member in (plain, encrypted)]
        assert right == [(OK, "it answers in the clear; "), (OK, "it answers under the key in its address; ")]
        state, said = found[f"LAN member {HOST}:{silent}"]
        assert (state, "cannot be reached" in said, "lan.serve" in said) == (BROKEN, True, True), said
        other = peer_name(plain.identity.author)
        state, said = examine(programs, peers=f"https://{HOST}:{encrypted.port}/{other}")[
            f"LAN member {HOST}:{encrypted.port}"
        ]
        assert (state, "the name of the peer that serves there" in said) == (BROKEN, True), said
    finally:
        plain.close()
        encrypted.close()


def test_a_wrong_address_is_said_as_any_wrong_key_is(programs: Programs) -> None:
    assert examine(programs, peers="ftp://x")["LAN"][0] == BROKEN
