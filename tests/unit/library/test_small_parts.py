"""The small parts that everything stands on."""

import threading

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.errors import FrameError, StaleError
from learnae.system.backoff import Backoff


def test_a_bounded_dict_drops_what_was_set_first_however_it_is_set() -> None:
    found = BoundedDict[str, int](2)
    found.update({"a": 1, "b": 2, "c": 3})
    assert found == {"b": 2, "c": 3}
    assert found.setdefault("b", 9) == 2
    assert found.setdefault("d", 4) == 4
    assert found == {"c": 3, "d": 4}
    found["c"] = 5  # keeps its place
    found["e"] = 6
    assert found == {"d": 4, "e": 6}


def test_backoff_doubles_until_its_most_and_begins_again() -> None:
    backoff = Backoff(least=0.5, most=3.0)
    assert [backoff.failed() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.seconds == 3.0
    backoff.succeeded()
    assert backoff.failed() == 0.5
    assert Backoff(least=5.0, most=1.0).failed() == 1.0


def test_an_error_log_counts_from_any_thread() -> None:
    log = ErrorLog()
    threads = [threading.Thread(target=lambda: [log.count(StaleError("old")) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.count(FrameError("x" * 1000))
    assert log.counts == {"StaleError": 2000, "FrameError": 1}
    assert log.last == {"StaleError": "old", "FrameError": "x" * 400}
