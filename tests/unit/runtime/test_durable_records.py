"""A record that a command has signed outlives a power cut: a code is handed out, a removal is relied on."""

import random
from pathlib import Path

from builders import identity, tiny_manifest

from learnae.ipld.cid import RAW
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import REMOVE, Vote
from learnae.runtime.registrar import Registrar
from learnae.simulation.seeds.disk import DiskBlockStore, SimulatedDisk
from learnae.system.atomic_files import writing_to


def test_what_a_command_has_signed_is_there_after_a_power_cut(tmp_path: Path) -> None:
    """Also where a peer has the database open, so that no command's end writes it back."""
    owner, other = identity(1), identity(2)
    founders = [Founder(key.author, key.x25519) for key in (owner, other)]
    manifest = tiny_manifest(membership=MembershipPolicy.of("invite", founders, 1))
    for seed in range(10):
        disk = SimulatedDisk(tmp_path / str(seed), random.Random(seed))
        with writing_to(disk):
            store = DiskBlockStore(disk, lambda: 0, lambda _: None)
            disk.boot(store)
            registrar = Registrar(disk.swarm, manifest, store)
            registrar.found(owner)
            invite, _ = registrar.invite(owner, 1, 1 << 40)
            store.put(RAW, bytes(9_000))
            removal = registrar.sign(owner, Vote(other.author, REMOVE))
            store.put(RAW, bytes(10_000))
            disk.end(store, (), is_power_cut=True)
            left = DiskBlockStore(disk, lambda: 0, lambda _: None)
        assert {invite.cid, removal.cid} <= left.names
        left.close()
