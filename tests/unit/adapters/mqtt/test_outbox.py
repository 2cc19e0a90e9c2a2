"""The queue on disk: order, bounds, and what it does with a damaged file."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from programs import clean_environment

from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.errors import StateError


def opened(path: Path, rows: int = 100, size: int = 1 << 20) -> Outbox:
    return Outbox(path / "queue", rows, size)


def payloads(queue: Outbox, count: int = 100) -> list[bytes]:
    return [row.payload for row in queue.oldest(count)]


def test_first_in_first_out_and_only_what_is_removed_goes(tmp_path):
    queue = opened(tmp_path)
    for number in range(5):
        queue.put("log", b"%d" % number)
    first = queue.oldest(2)
    assert [(row.channel, row.payload) for row in first] == [("log", b"0"), ("log", b"1")]
    assert queue.oldest(2) == first
    queue.remove(first)
    queue.remove(first)
    assert payloads(queue) == [b"2", b"3", b"4"]
    assert queue.rows == 3


def test_another_process_goes_on_where_the_last_was_killed(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from learnae.adapters.mqtt.monitor.outbox import Outbox\n"
        "queue = Outbox(Path(sys.argv[1]), 100, 1 << 20)\n"
        "for number in range(7): queue.put('log', b'%d' % number)\n"
        "queue.remove(queue.oldest(2)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "queue"], env=clean_environment(), check=False)
    queue = opened(tmp_path)
    assert payloads(queue) == [b"2", b"3", b"4", b"5", b"6"]
    assert queue.rows == 5


@pytest.mark.parametrize("bounds", [{"rows": 3}, {"size": 3 * (1 + 32)}])
def test_the_oldest_make_room_and_are_counted(tmp_path, bounds):
    queue = opened(tmp_path, **bounds)
    for number in range(8):
        queue.put("log", b"%d" % number)
    assert payloads(queue) == [b"5", b"6", b"7"]
    assert (queue.rows, queue.dropped) == (3, 5)
    queue.close()
    smaller = opened(tmp_path, rows=2)  # the bound has been lowered since
    smaller.put("log", b"8")
    assert payloads(smaller) == [b"7", b"8"]


def test_what_is_larger_than_the_whole_queue_is_dropped(tmp_path):
    queue = opened(tmp_path, size=100)
    queue.put("log", bytes(200))
    assert (payloads(queue), queue.dropped, queue.rows) == ([], 1, 0)


def test_a_damaged_file_is_put_aside(tmp_path, caplog):
    (tmp_path / "queue").write_bytes(os.urandom(8192))
    queue = opened(tmp_path)
    queue.put("log", b"new")
    assert payloads(queue) == [b"new"]
    assert (tmp_path / "queue.damaged").stat().st_size == 8192
    assert "is damaged" in caplog.text


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    with pytest.raises(StateError, match="cannot open"):
        Outbox(tmp_path / "absent" / "queue", 1, 100)
    queue = opened(tmp_path)
    queue.close()
    with pytest.raises(StateError, match="cannot use"):
        queue.put("log", b"late")


def test_several_threads_may_use_it(tmp_path):
    queue = opened(tmp_path, rows=1000)

    def put_many(name: int) -> None:
        for number in range(50):
            queue.put("log", b"%d %d" % (name, number))

    threads = [threading.Thread(target=put_many, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(payloads(queue, 1000))) == queue.rows == 200
