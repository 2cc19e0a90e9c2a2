"""Several gossips and monitors at once: one that fails stops no other."""

import pytest

from learnae.adapters.composite.gossip import Gossips
from learnae.adapters.composite.monitor import Monitors
from learnae.basics.error_log import ErrorLog
from learnae.errors import TransportError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Heard
from learnae.protocol.announcements import Announcement, Entry
from learnae.runtime.link_set import LinkSet
from learnae.simulation.in_memory import SilentMonitor

HEAD = Cid.of(DAG_CBOR, b"a")
SAID = Announcement((Entry(b"8 bytes!", 7, HEAD, HEAD),))
HEARD, LEFT = Heard("pump", SAID), Heard("fan", Announcement())


class Recorder:
    def __init__(self) -> None:
        self.announced = []

    def announce(self, announcement) -> None:
        self.announced.append(announcement)

    def heard(self):
        return [HEARD]


class Broken:
    def announce(self, announcement) -> None:
        raise TransportError("no broker")

    def heard(self):
        raise TransportError("no broker")


def test_one_gossip_that_fails_stops_no_other_and_is_counted():
    recorder, problems = Recorder(), ErrorLog()
    gossips = Gossips({"broken": Broken(), "works": recorder}, problems)
    gossips.announce(SAID)
    assert recorder.announced == [SAID]
    assert gossips.heard() == [HEARD]
    assert problems.counts == {"TransportError": 2}


def test_every_monitor_is_told():
    monitors = [SilentMonitor(), SilentMonitor()]
    Monitors(monitors).report({"steps": 1})
    assert [monitor.last for monitor in monitors] == [{"steps": 1}] * 2
    Monitors(monitors).close({"steps": 2})
    assert [monitor.last for monitor in monitors] == [{"steps": 2}] * 2


def test_what_is_outside_is_closed_once_and_says_how_it_is():
    closed = []
    links = LinkSet(states={"mqtt": lambda: "connected"}, closers=(lambda: closed.append("mqtt"),))
    assert links.status() == {"mqtt": "connected"}
    more = LinkSet() + links
    links.close()
    more.close()
    assert closed == ["mqtt"]


def test_a_set_of_links_cannot_be_changed():
    gossips = {"mqtt": Recorder()}
    links = LinkSet(gossips=gossips)
    gossips["iota"] = Recorder()
    assert list(links.gossips) == ["mqtt"]
    with pytest.raises(TypeError):
        links.gossips["iota"] = Recorder()


def test_announcements_of_other_machines_are_counted_without_empty_ones():
    assert Gossips({"local": Recorder()}).announcements is None
    gossips = Gossips({"local": Recorder(), "radio": (radio := Recorder())})
    assert gossips.announcements == 0
    gossips.heard()
    radio.heard = lambda: [LEFT, HEARD, HEARD]
    gossips.heard()
    assert gossips.announcements == 3
