"""The roster is what docs/protocol.md says: a second one, from the page alone, finds the same in every world."""

import pytest
from golden import membership as page
from golden.reader import decode
from nightly import how_many
from rosters import SWARM
from test_interleavings import STEPS, World

from learnae.membership.records import REMOVE, Vote, compose_record
from learnae.membership.roster import roster

SEEDS = how_many(40, 2000)


@pytest.mark.parametrize("seeds", [range(first, first + SEEDS // 4) for first in range(0, SEEDS, SEEDS // 4)])
def test_the_page_and_the_library_agree(seeds: range) -> None:
    removals = 0
    for seed in seeds:
        world = World(seed)
        for _ in range(STEPS):
            world.step()
        strike_back(world)
        records = {str(record.cid): decode(record.data, 1 << 16) for record in world.said}
        found = roster(world.policy, world.said)
        members, removed = page.Swarm(str(SWARM), world.policy.to_fields(), records).members()
        assert (members, removed) == (found.members.keys(), found.removed), seed
        removals += len(removed)
    assert removals


def strike_back(world: World) -> None:
    """Let those who were removed, and one who was not, vote with as little past as they can."""
    for peer in world.peers:
        if world.rng.random() < 0.5 or not peer.is_member:
            past = [world.said[0].cid] * world.rng.randrange(2)
            for other in world.peers:
                body = Vote(other.identity.author, REMOVE)
                world.said.append(compose_record(peer.identity, SWARM, past, world.time, body))
