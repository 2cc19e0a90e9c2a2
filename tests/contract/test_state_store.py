"""What every ports.StateStore promises."""


def test_nothing_is_there_at_first(reopen):
    assert reopen().load() is None


def test_the_last_state_is_read_back_by_the_next_process(reopen):
    reopen().save(b"first")
    reopen().save(b"second, which is longer")
    reopen().save(b"third")

    assert reopen().load() == b"third"


def test_an_empty_state_is_a_state(reopen):
    reopen().save(b"")

    assert reopen().load() == b""


def test_reading_changes_nothing(reopen):
    store = reopen()
    store.save(bytes(range(256)) * 4096)

    assert store.load() == store.load() == bytes(range(256)) * 4096
