"""When another process is taken for one with the same key."""

import pytest
from builders import SWARM
from desk import Desk

from learnae.adapters.mqtt.session import Session
from learnae.adapters.mqtt.topics import Topics

TOPIC = f"t/{SWARM}/alice/session"


class ContestedDesk(Desk):
    """Counts how often a rival was noticed."""

    rivals = 0

    def contest(self) -> None:
        self.rivals += 1


@pytest.mark.parametrize(
    ("heard", "rivals"),
    [
        ("own own", 0),
        ("other own", 0),  # of an earlier process of this peer
        ("own other", 1),
        ("own nothing own", 0),  # the broker has forgotten all, or a person has removed it
        ("other own other own other", 2),
    ],
)
def test_a_word_of_another_process_counts_once_the_own_one_is_known(heard, rivals):
    desk = ContestedDesk()
    Session(desk, Topics("t", str(SWARM), "alice"))
    words = {"own": desk.kept[0], "other": b"another.", "nothing": b""}
    for word in heard.split():
        desk.hear(TOPIC, TOPIC, words[word])
    assert desk.rivals == rivals


def test_each_process_has_a_word_of_its_own():
    desk, other = ContestedDesk(), ContestedDesk()
    for each in (desk, other):
        Session(each, Topics("t", str(SWARM), "alice"))
    assert desk.kept != other.kept
