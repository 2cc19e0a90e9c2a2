"""Processes that play one swarm: what they tell each other, and how they end."""

import multiprocessing
import time

import pytest

from learnae.errors import LearnaeError
from learnae.simulation.shards import Shard, play_in_shards


def told(shard: Shard, size: int) -> tuple[list[int], list[list[int]], list[bool]]:
    """Tell the others more than a pipe holds, then the own number."""
    sizes = [len(data) + data[0] for data in shard.exchange(bytes([shard.index]) * size)]
    return [shard.sum(shard.index), shard.count], shard.gather(sizes), [shard.has(member) for member in range(4)]


def ending(shard: Shard, at: int) -> list[int]:
    """Let one process end while the others wait for it."""
    if shard.index == at:
        raise SystemExit(3)
    return shard.gather(shard.index)


def test_all_processes_tell_each_other_and_share_the_members() -> None:
    sums, sizes, members = play_in_shards(3, told, 1 << 20)
    assert sums == [0 + 1 + 2, 3]
    assert sizes == [[(1 << 20) + other for other in range(3) if other != index] for index in range(3)]
    assert members == [True, False, False, True]
    assert play_in_shards(1, told, 5) == ([0, 1], [[]], [True] * 4), "one process tells itself alone"


def test_when_one_process_ends_the_others_say_so_and_end() -> None:
    begin = time.monotonic()
    with pytest.raises(LearnaeError, match="a process of the simulation has ended"):
        play_in_shards(3, ending, 1)
    with pytest.raises(SystemExit):
        play_in_shards(2, ending, 0)
    assert not multiprocessing.active_children()
    assert time.monotonic() - begin < 60
