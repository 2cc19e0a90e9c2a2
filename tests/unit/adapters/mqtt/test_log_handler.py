"""What of the log may be read far away."""

import logging
from pathlib import Path

import pytest

import learnae
from learnae.adapters.mqtt.monitor.publisher import RemoteLog

INSIDE = str(Path(learnae.__file__).parent / "adapters" / "x.py")
READERS = [str(Path(learnae.__file__).parent / name / "x.py") for name in ("tables", "samples")]
OUTSIDE = str(Path(learnae.__file__).parents[1] / "agent" / "x.py")


def record(text: str, path: str = INSIDE, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("learnae", level, path, 1, text, (), None)


@pytest.fixture
def sent():
    return []


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def handler(sent, now):
    return RemoteLog(sent.append, lambda: now[0])


def test_warnings_and_errors_pass_and_nothing_less(handler, sent):
    logger = logging.Logger("x")
    logger.addHandler(handler)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(level, "level %d", level)
    assert [fields["level"] for fields in sent] == ["warning", "error"]
    assert sent[0]["text"].startswith("level")
    assert sent[0]["time"] > 1_600_000_000_000


def test_what_a_source_quotes_is_blanked_and_what_the_library_says_is_not(handler, sent):
    text = """line 17: 'temp=21.5' and "a b" are -3.25e-7, not numbers"""
    for path in (OUTSIDE, *READERS, INSIDE):
        handler.handle(record(text, path))
    assert [fields["text"] for fields in sent] == [*["line …: … and … are …, not numbers"] * 3, text]


@pytest.mark.parametrize("reading", ['it\'s 21 "hot"', "C:\\", "a\\'b", "two\nlines'"])
def test_a_reading_with_quotation_marks_is_blanked_whole(handler, sent, reading):
    handler.handle(record(f"line 7: {reading!r} is no number", READERS[0]))
    handler.handle(record("file 'C:\\' is gone", OUTSIDE))
    assert [fields["text"] for fields in sent] == ["line …: … is no number", "file … is gone"]


def test_a_flood_is_held_back_and_counted(handler, sent, now):
    for number in range(100):
        handler.handle(record(f"flood {number}"))
    assert len(sent) == 20
    now[0] += 10
    handler.handle(record("later"))
    assert sent[-1]["text"] == "later"
    assert sent[-1]["held_back"] == 80
    handler.handle(record("again"))
    assert "held_back" not in sent[-1]


@pytest.mark.parametrize("name", ["learnae.peer.peer", "agent.wiring", "trainer_node.cli", "firmware_bridge.link", "x"])
def test_every_logger_is_handled_whatever_its_name(handler, sent, name):
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        logging.getLogger(name).warning("the sensor '%s' is gone", "left")
    finally:
        root.removeHandler(handler)
    assert [fields["text"] for fields in sent] == ["the sensor … is gone"]  # this file is outside of the library


def test_a_record_that_comes_of_sending_one_is_not_sent():
    sent = []

    def send(fields) -> None:
        sent.append(fields)
        handler.handle(record("the disk is full"))

    handler = RemoteLog(send)
    handler.handle(record("first"))
    assert [fields["text"] for fields in sent] == ["first"]


def test_long_texts_are_cut(handler, sent):
    handler.handle(record("x" * 10_000))
    assert len(sent[0]["text"]) == 500
