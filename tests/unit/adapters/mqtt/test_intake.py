"""What pushes and answers do to the store, and how often a message is decoded on its way in."""

import random
from collections import Counter
from collections.abc import Collection
from types import SimpleNamespace

import pytest
from builders import NOW, SWARM, Author
from desk import Desk
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.claims import Claims
from learnae.adapters.mqtt.blocks.exchange import MqttExchange
from learnae.adapters.mqtt.blocks.inbox import Counts, MqttInbox
from learnae.adapters.mqtt.blocks.intake import Intake
from learnae.adapters.mqtt.blocks.leases import Leases
from learnae.adapters.mqtt.blocks.wire_format import pack
from learnae.adapters.mqtt.blocks.wish_table import WishTable
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.gossip import MqttGossip
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.error_log import ErrorLog
from learnae.errors import EncodingError, LimitError, StrangerError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.peer.replication import Replicator
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, author_of, open_message
from learnae.protocol.opener import MessageOpener
from learnae.protocol.tangle import Tangle

TOPICS = Topics("t", str(SWARM), "alice")
FRAME = b"a frame"


class Setting:
    """An intake that lets each author store ``frames`` bytes."""

    def __init__(self, directory, frames: int = 10_000, members: Collection[bytes] = ()) -> None:
        self.store = LocalBlockStore(directory)

        def check(data: bytes) -> None:
            if members and author_of(data) not in members:
                raise StrangerError("not a member")

        self.service = BlockService(self.store, check=check)
        self.wishes = WishTable(Desk(), TOPICS)
        self.leases = Leases(Desk(), TOPICS, 600.0, 1)
        self.frontier = Frontier()
        self.heard: list[Message] = []
        self.opened = 0
        self.claims = Claims()
        self.intake = Intake(
            TOPICS,
            self.service,
            self.wishes,
            self.leases,
            self.frontier,
            Counts(),
            lambda: TokenBucket(frames, 0.0),
            self.open,
            self.claims,
            self.heard.append,
        )

    def open(self, data: bytes) -> Message:
        self.opened += 1
        return open_message(data, SWARM, Limits())

    def hear(self, author: Author, channel: str, payload: bytes) -> None:
        topic = TOPICS.of(peer_name(author.author), channel)
        handle = {"message": self.intake.on_message, "frame": self.intake.on_frame}.get(channel, self.intake.on_block)
        handle(Received(topic, payload, "", False))


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path)


def test_a_pushed_message_and_the_frame_that_it_names_are_kept(setting):
    author = Author(1)
    message = author.say(blocks=(Cid.of(RAW, FRAME),))
    with pytest.raises(EncodingError, match="no message of it names"):
        setting.hear(author, "frame", FRAME)
    setting.hear(author, "message", message.data)
    with pytest.raises(EncodingError, match="no message of it names"):
        setting.hear(Author(2), "frame", FRAME)
    setting.hear(author, "frame", FRAME)
    assert setting.heard == [message]
    assert list(setting.store.cids()) == [Cid.of(RAW, FRAME)]
    assert setting.service.get(message.cid) == message.data  # from now on it is kept
    assert setting.store.get(message.cid) == message.data


def test_a_message_of_another_author_is_refused(setting):
    with pytest.raises(EncodingError, match="another author"):
        setting.hear(Author(2), "message", Author(1).say().data)
    assert list(setting.store.cids()) == setting.heard == []


def test_a_strangers_message_is_refused_before_it_is_queued_decoded_or_stored(tmp_path):
    member, stranger, queued = Author(1), Author(2), []
    setting = Setting(tmp_path, members={member.author})
    inbox = MqttInbox(setting.intake.counts, 8, 1 << 20)
    put = inbox.handler(queued.append, setting.intake.is_welcome)
    for author in (stranger, member):
        put(Received(TOPICS.of(peer_name(author.author), "message"), author.say().data, "", False))
    wait_for(lambda: queued, "the message of a member")
    inbox.close()
    assert [received.payload for received in queued] == [member.last.data]
    assert setting.intake.counts["refused of strangers"] == 1
    with pytest.raises(StrangerError):
        setting.intake.store.receive(stranger.last.cid, stranger.last.data, "mqtt")
    assert setting.opened == 0
    assert list(setting.store.cids()) == []


def test_frames_are_kept_as_far_as_their_author_may_fill_the_disk_and_what_is_waited_for(tmp_path):
    author, setting, frames = Author(1), Setting(tmp_path, frames=100), [bytes([number]) * 60 for number in range(3)]
    cids = [Cid.of(RAW, frame) for frame in frames]
    message = author.say(blocks=tuple(cids))
    setting.hear(author, "message", message.data)
    setting.hear(author, "frame", frames[0])
    setting.hear(author, "frame", frames[1])
    assert list(setting.store.cids()) == cids[:1]
    assert setting.service.has(cids[1])
    wish = setting.wishes.enter(cids[2], print)
    setting.hear(author, "frame", frames[2])
    assert wish.data == frames[2]
    assert setting.store.has(cids[2])


def test_a_block_that_is_larger_than_what_is_waited_for_is_refused(setting):
    liar, garbage = Author(2), bytes(70_000)
    cid = Cid.of(DAG_CBOR, garbage)
    wish = setting.wishes.enter(cid, print, most=Limits().message_bytes)
    with pytest.raises(LimitError, match="at most 65536 are taken"):
        setting.hear(liar, f"block/{cid}", pack([garbage]))
    assert wish.arrived.is_set(), "no other bytes have that name"
    assert wish.data is None
    assert list(setting.store.cids()) == []


def test_wrong_bytes_are_refused_and_their_sender_distrusted(setting):
    liar, wanted = Author(2), Cid.of(RAW, b"true")
    wish = setting.wishes.enter(wanted, print)
    for payload in (pack([b"false"]), b"\xff"):
        with pytest.raises(EncodingError):
            setting.hear(liar, f"block/{wanted}", payload)
    setting.claims.hear(wanted, peer_name(liar.author))
    assert setting.claims.latest(wanted) == float("-inf")
    assert not wish.arrived.is_set()
    setting.hear(liar, f"block/{wanted}", pack([b"true"]))
    assert wish.data == b"true"


def test_the_past_that_comes_along_is_kept_and_what_is_missing_before_it_is_noted(setting):
    author, stranger = Author(1), Author(2).say()
    first, second, third = author.say(), author.say(blocks=(Cid.of(RAW, FRAME),)), author.say()
    wish = setting.wishes.enter(third.cid, print)
    setting.hear(Author(3), f"block/{third.cid}", pack([third.data, second.data, stranger.data]))
    assert wish.data == third.data
    held = [setting.service.has(each.cid) for each in (second, third, stranger)]
    assert held == [True, False, False]  # the third goes to whoever fetches it
    assert list(setting.store.cids()) == []  # before it is read, or it is no message after all
    assert setting.leases.names(peer_name(author.author), Cid.of(RAW, FRAME))
    assert setting.frontier._places == {first.cid: (author.author[:PREFIX_BYTES], 0)}


def test_the_one_before_a_pushed_message_is_asked_for_from_where_its_author_is_known(setting):
    author = Author(1)
    messages = author.chain(5)
    setting.frontier.note_own(Announcement((Entry(author.author[:PREFIX_BYTES], 1, messages[1].cid, None),)))
    assert setting.frontier.start_of(messages[3].cid) == 0
    setting.hear(author, "message", messages[4].data)
    assert setting.frontier.start_of(messages[3].cid) == 2


def test_a_pushed_message_is_verified_once_between_its_arrival_and_the_tangle(tmp_path):
    desk, verified = Desk(), Counter[Cid]()

    def verify(data, swarm, limits):
        verified[Cid.of(DAG_CBOR, data)] += 1
        return open_message(data, swarm, limits)

    opener, clock = MessageOpener(verify=verify), SimpleNamespace(now=lambda: NOW + 10_000, uptime=lambda: 0)
    store, gossip = BlockService(LocalBlockStore(tmp_path)), MqttGossip(desk, TOPICS, 0.0, ErrorLog(), Frontier())
    tangle = Tangle(Limits(), random.Random(1))
    replicator = Replicator(SWARM, tangle, store, gossip, clock, ErrorLog(), opener)
    exchange = MqttExchange(desk, TOPICS, SWARM, store, Limits(), opener=opener, heard=gossip.note)
    messages = Author(1).chain(3)
    try:
        for message in messages:
            topic = TOPICS.of(peer_name(message.author), "message")
            desk.hear(TOPICS.all("message"), topic, message.data)
        wait_for(lambda: exchange.counts["accepted"] == 3, "the messages")
        attached = replicator.hear().attached
    finally:
        exchange.close()
    assert attached == messages
    assert verified == {message.cid: 1 for message in messages}
