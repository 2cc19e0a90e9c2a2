"""What every ports.StateStore promises."""

from __future__ import annotations


def test_nothing_is_there_at_first(states):
    assert states.reopen().load() is None


def test_the_last_state_is_read_back_by_the_next_process(states):
    states.reopen().save(b"first")
    states.reopen().save(b"second, which is longer")
    states.reopen().save(b"third")

    assert states.reopen().load() == b"third"


def test_an_empty_state_is_a_state(states):
    states.reopen().save(b"")

    assert states.reopen().load() == b""


def test_reading_changes_nothing(states):
    store = states.reopen()
    store.save(bytes(range(256)) * 4096)

    assert store.load() == store.load() == bytes(range(256)) * 4096
