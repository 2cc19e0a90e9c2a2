"""What a peer shows to members and viewers only, or to no one: against a real broker."""

import json
from functools import partial
from pathlib import Path

import pytest
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain
from programs import wait_for

from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.adapters.mqtt.monitor.publisher import MqttMonitor, stay_silent
from learnae.adapters.mqtt.monitor.sealed_payloads import open_payload, seal_payload
from learnae.adapters.mqtt.monitor.subscriber import Subscriber
from learnae.adapters.mqtt.topics import Topics
from learnae.cli.commands.look.watch import _unsealed
from learnae.config.sections import OFF, PLAIN, SEALED, MqttSection
from learnae.errors import ConfigurationError, SealError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.viewer_key import ViewerKey
from learnae.ports import Inference
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.links.mqtt import monitor_mode

AUTHOR = Identity.from_seed(bytes(32)).author
MEETING = "meeting777777777777777777a"
TOPICS = Topics("learnae/1", MEETING, peer_name(AUTHOR))
VIEW = ViewerKey(Cid.of(DAG_CBOR, b"swarm"), MEETING, {b"an epoch": bytes(range(32))})
STATUS = {"peer": TOPICS.peer, "name": "plantedname", "shown": "plantedname", "role": "agent", "software": "9.8.7"}
STATUS |= {"time": 5, "steps": 77_777}


class Member(ViewerKey):
    """Knows the secrets of VIEW, and seals under the only one, once ``is_in``."""

    is_in = True

    def current(self) -> tuple[bytes, bytes] | None:
        return next(iter(self.epochs.items())) if Member.is_in else None


def shown(links: Links, broker: Mosquitto, directory: Path) -> MqttMonitor:
    member = Member(VIEW.swarm, VIEW.meeting, VIEW.epochs)

    def seal(channel: str, payload: bytes) -> bytes | None:
        epoch = member.current()
        return seal_payload(epoch, AUTHOR, 1_000, channel, payload) if epoch else None

    queue = Outbox(directory / "queue", 99, 1 << 20)
    return MqttMonitor(links.open(plain(broker)), TOPICS, queue, directory, seal=seal, state_seconds=0.0)


def is_seen(subscriber: Subscriber) -> bool:
    return any(peer.steps or peer.sealed for peer in subscriber.peers())


@pytest.mark.engine("mosquitto")
def test_only_who_has_the_secret_sees_what_a_peer_shows(
    broker: Mosquitto, links: Links, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(links.open(plain(broker)))
    monkeypatch.setattr(Member, "is_in", False)
    monitor = shown(links, broker, tmp_path)
    monitor.infer([Inference(1.0, "plantedlabel", 0.5)])
    monitor.report(STATUS)
    inbox.newest("status")
    assert {topic.split("/")[-1] for topic, _ in inbox.heard} == {"status"}  # what has no secret yet waits
    monkeypatch.setattr(Member, "is_in", True)
    monitor.report(STATUS)
    wait_for(lambda: monitor.state() == "0 waiting", "all to be sent")
    for channel in ("state", "metrics", "inference"):
        opened = open_payload(VIEW, AUTHOR, channel, inbox.newest(channel))
        with pytest.raises(SealError):  # a broker that passes one channel off as another
            open_payload(VIEW, AUTHOR, "log", inbox.newest(channel))
        assert channel == "metrics" or b"planted" in opened
    everything = b"".join(payload for _, payload in inbox.heard)
    assert b"planted" not in everything
    assert b"77777" not in everything
    assert {each.content_type for each in inbox.received if each.topic.split("/")[-1] != "status"} == {
        "application/octet-stream"
    }

    other = ViewerKey(VIEW.swarm, MEETING, {b"no epoch": bytes(32)})
    for view, sees in ((VIEW, True), (other, False), (None, False)):
        views = {} if view is None else {MEETING: view}
        link = links.open(plain(broker))
        subscriber = Subscriber(link, "learnae/1", unseal=lambda *said, views=views: _unsealed(views, *said))
        wait_for(partial(is_seen, subscriber), "the retained state")
        (peer,) = subscriber.peers()
        assert (peer.name, peer.steps, peer.sealed) == (("plantedname", 77_777, False) if sees else ("", 0, True))
        assert not subscriber.bad
    monitor.close(STATUS)


@pytest.mark.engine("mosquitto")
def test_a_peer_that_shows_nothing_takes_back_what_it_has_shown(
    broker: Mosquitto, links: Links, tmp_path: Path
) -> None:
    queue = Outbox(tmp_path / "queue", 99, 1 << 20)
    monitor = MqttMonitor(links.open(plain(broker)), TOPICS, queue, tmp_path, announces=True, state_seconds=0.0)
    monitor.report(STATUS)
    monitor.close(STATUS)
    before = Inbox(links.open(plain(broker)))
    assert json.loads(before.newest("config"))["dev"]["name"] == "Learnae plantedname"
    silent = links.open(plain(broker))
    stay_silent(silent, TOPICS, tmp_path)
    for channel in ("status", "state", "config"):
        before.newest(channel, lambda payload: payload == b"")
    assert Inbox(links.open(plain(broker))).heard == []


def test_how_a_peer_is_shown_follows_from_the_swarm_unless_it_is_said() -> None:
    assert monitor_mode(MqttSection(), is_sealed=False) == PLAIN
    assert monitor_mode(MqttSection(), is_sealed=True) == SEALED
    assert monitor_mode(MqttSection(monitor=OFF), is_sealed=False) == OFF
    assert monitor_mode(MqttSection(monitor=PLAIN, home_assistant=True), is_sealed=True) == PLAIN
    with pytest.raises(ConfigurationError, match="the swarm is open"):
        monitor_mode(MqttSection(monitor=SEALED), is_sealed=False)
    with pytest.raises(ConfigurationError, match=r"home_assistant is true, and mqtt\.monitor is sealed"):
        monitor_mode(MqttSection(home_assistant=True), is_sealed=True)
