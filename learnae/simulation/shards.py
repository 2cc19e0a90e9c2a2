"""Processes that play one swarm together, each some of its peers: how they begin, talk and end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import cbor2

from learnae.errors import LearnaeError

Argument = TypeVar("Argument")
Number = TypeVar("Number", int, float)
Result = TypeVar("Result")
_PATIENCE = 10.0  # seconds for the others to end by themselves


class Shard:
    """One of ``count`` processes that run the same program; members are dealt to them in turn.

    ``links`` lead to the others, in their order. All ask each other the same, in the same order.

    >>> Shard().gather(7), Shard().has(3)
    ([7], True)
    """

    def __init__(self, index: int = 0, links: Sequence[Connection] = ()) -> None:
        self.index = index
        self.count = len(links) + 1
        self._links = links

    def has(self, member: int) -> bool:
        """Return True if the member of a number is played here."""
        return member % self.count == self.index

    def exchange(self, data: bytes) -> list[bytes]:
        """Tell all others ``data``, and return what each of them tells; raises LearnaeError where one has ended."""
        return [self._swap(link, data, other) for other, link in enumerate(self._links)]

    def gather(self, value: object) -> list[Any]:
        """Return the ``value`` of each shard, in their order; what CBOR can carry."""
        values = [cbor2.loads(said) for said in self.exchange(cbor2.dumps(value))]
        return [*values[: self.index], value, *values[self.index :]]

    def sum(self, value: Number) -> Number:
        """Return the sum of each shard's ``value``."""
        return sum(self.gather(value), start=type(value)(0))

    def _swap(self, link: Connection, data: bytes, other: int) -> bytes:
        try:
            if self.index <= other:  # the first one of two speaks first, so that neither waits for ever
                link.send_bytes(data)
                return link.recv_bytes()
            said = link.recv_bytes()
            link.send_bytes(data)
        except (EOFError, OSError) as error:
            raise LearnaeError("a process of the simulation has ended", "look above for what it says of it") from error
        return said


def play_in_shards(count: int, program: Callable[[Shard, Argument], Result], argument: Argument) -> Result:
    """Run ``program`` in ``count`` processes, this one among them, and return what it returns here.

    It must be a function of a module, as each process imports it; the others end with this one.
    """
    if count == 1:
        return program(Shard(), argument)
    context = multiprocessing.get_context("spawn")
    links: list[list[Connection]] = [[] for _ in range(count)]
    for second in range(count):
        for first in range(second):
            for index, end in zip((first, second), context.Pipe(), strict=True):
                links[index].append(end)
    children = [
        context.Process(target=_play, args=(index, links[index], program, argument), daemon=True)
        for index in range(1, count)
    ]
    try:
        for child, ends in zip(children, links[1:], strict=True):
            child.start()
            for end in ends:
                end.close()
        return program(Shard(0, links[0]), argument)
    finally:
        for end in links[0]:
            end.close()
        for child in children:
            _end(child)


def _play(
    index: int, links: Sequence[Connection], program: Callable[[Shard, Argument], object], argument: Argument
) -> None:
    with suppress(KeyboardInterrupt):  # the first one tells of it
        program(Shard(index, links), argument)


def _end(child: multiprocessing.process.BaseProcess) -> None:
    if child.pid is None:
        return
    child.join(_PATIENCE)
    if child.is_alive():
        child.kill()
        child.join()
