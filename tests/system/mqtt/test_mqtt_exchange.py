"""Blocks over a real broker: pushed, asked for, answered about once; wrong ones refused; a broker that fails."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain, wait_for_subscriptions
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.exchange import MqttExchange, Tuning
from learnae.adapters.mqtt.blocks.wire_format import pack, unpack
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.topics import Topics
from learnae.errors import BlockMissingError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, compose

pytestmark = pytest.mark.engine("mosquitto")

SWARM = Cid.of(DAG_CBOR, b"swarm")
PATIENT = Tuning(asks=60, offer=60.0)  # the machine of a test may stand still for seconds
WAITING = replace(PATIENT, grace=(60.0, 60.0))  # for a push, longer than a test may take


class Machine:
    """A peer's store and exchange, with a link of its own."""

    def __init__(
        self, directory: Path, links: Links, broker: Mosquitto, holds: bool = False, tuning: Tuning = PATIENT
    ) -> None:
        self.identity = Identity.generate()
        self.name = peer_name(self.identity.author)
        self.local = LocalBlockStore(directory / self.name[:8])
        self.store = BlockService(self.local)
        self.link = links.open(plain(broker))
        self.topics = Topics("learnae/1", str(SWARM), self.name)
        self.heard: list[Message] = []
        self.frontier = Frontier()
        self.exchange = MqttExchange(
            self.link,
            self.topics,
            SWARM,
            self.store,
            Limits(),
            holds,
            heard=self.heard.append,
            frontier=self.frontier,
            tuning=tuning,
        )
        self.seq, self.last = 0, None

    def message(self, *blocks: bytes) -> Message:
        """The next one, kept here; nobody has heard of it."""
        cids = tuple(self.local.put(RAW, block) for block in blocks)
        parents = (self.last,) if self.last else ()
        made = compose(self.identity, SWARM, self.seq, parents, 1_700_000_000_000 + self.seq, {"kind": "x"}, cids)
        self.local.put(DAG_CBOR, made.data)
        self.seq, self.last = self.seq + 1, made.cid
        return made

    def push(self, *blocks: bytes) -> Message:
        """As the link does with what is put into the store."""
        made = self.message(*blocks)
        self.exchange.offer(made.cid, made.data)
        return made

    def count(self, what: str) -> int:
        return self.exchange.counts[what]


@pytest.fixture
def machine(tmp_path: Path, links: Links, broker: Mosquitto) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(**changes) -> Machine:
        made.append(Machine(tmp_path, links, broker, **changes))
        link, ready = made[-1].link, threading.Event()
        link.subscribe(f"ready/{len(made)}", lambda _: ready.set())
        wait_for(lambda: link.publish(f"ready/{len(made)}", b"") and ready.wait(0.1), "its subscriptions")
        return made[-1]

    yield make
    for each in made:
        each.exchange.close()


def test_a_pushed_message_reaches_all_and_its_frame_those_who_follow(machine):
    author, follower, other, holder = machine(), machine(), machine(), machine(holds=True)
    first = author.push(b"frame 0")
    for each in (follower, other, holder):
        wait_for(lambda each=each: each.store.has(first.cid), "the message")
        wait_for(lambda each=each: each.heard == [first], "word of it")
    wait_for(lambda: holder.store.has(first.blocks[0]), "the frame, at a trainer that holds")
    assert not follower.store.has(first.blocks[0])
    assert follower.exchange.fetch(first.blocks[0]) == b"frame 0"  # from now on it follows
    wanted = follower.count("wanted")

    second = author.push(b"frame 1")
    wait_for(lambda: follower.store.has(second.blocks[0]), "the next frame")
    wait_for(lambda: other.store.has(second.cid), "the next message")
    assert follower.count("wanted") == wanted
    assert not other.store.has(second.blocks[0])


def test_others_messages_and_other_blocks_are_not_pushed(machine):
    one, other = machine(), machine()
    foreign, raw = other.message(), one.local.put(RAW, b"raw")
    one.exchange.offer(foreign.cid, foreign.data)
    one.exchange.offer(raw, b"raw")
    one.exchange.offer(Cid.of(DAG_CBOR, b"\xa0"), b"\xa0")
    assert one.count("pushed") == 0


def test_a_frame_that_is_too_large_is_only_sent_to_those_who_ask(machine):
    author, holder = machine(tuning=replace(PATIENT, push_bytes=100)), machine(holds=True)
    message = author.push(bytes(60), bytes(61))
    assert author.count("pushed") == 1
    assert holder.exchange.fetch(message.blocks[0]) == bytes(60)


def test_a_lease_ends_unless_a_frame_is_wanted_again(machine):
    author, follower = machine(), machine(tuning=replace(PATIENT, lease=0.0))
    message = author.push(b"frame 0")
    wait_for(lambda: follower.store.has(message.cid), "the message")
    follower.exchange.fetch(message.blocks[0])
    second = author.push(b"frame 1")
    wait_for(lambda: follower.store.has(second.blocks[0]), "a last frame")
    wait_for(lambda: not follower.exchange._leases.has(author.name), "the end of the lease")
    follower.link.deliver("mark", b"", 60)  # behind what ends the subscription
    third = author.push(b"frame 2")
    wait_for(lambda: follower.store.has(third.cid), "the third message")
    fourth = author.push()
    wait_for(lambda: follower.store.has(fourth.cid), "the fourth message")
    assert not follower.store.has(third.blocks[0])


def test_what_is_pushed_as_somebody_begins_to_wait_for_it_is_there(machine, monkeypatch):
    author, reader = machine(), machine(tuning=WAITING)
    message, receive, fetched = author.message(), reader.store.receive, []
    waiting = threading.Thread(target=lambda: fetched.append(reader.exchange.fetch(message.cid)), daemon=True)

    def meanwhile(cid: Cid, data: bytes, origin: str, by: str) -> None:
        waiting.start()
        wait_for(lambda: cid in reader.exchange._wishes._wishes, "somebody to wait for it")
        time.sleep(0.2)
        receive(cid, data, origin, by)

    monkeypatch.setattr(reader.store, "receive", meanwhile)
    author.exchange.offer(message.cid, message.data)
    wait_for(lambda: fetched == [message.data], "the message")


def test_what_was_pushed_just_before_somebody_waits_for_it_is_there(machine):
    author, reader = machine(), machine(tuning=WAITING)
    message, fetched = author.push(), []
    wait_for(lambda: reader.store.has(message.cid), "the message")
    threading.Thread(target=lambda: fetched.append(reader.exchange.fetch(message.cid)), daemon=True).start()
    wait_for(lambda: fetched == [message.data], "it at once")


def test_what_comes_as_another_ones_past_is_there_for_whoever_waits(machine):
    holder, reader, fetched = machine(), machine(tuning=WAITING), []
    first, second = (holder.message() for _ in range(2))
    waiting = threading.Thread(target=lambda: fetched.append(reader.exchange.fetch(first.cid)), daemon=True)
    waiting.start()
    wait_for(lambda: first.cid in reader.exchange._wishes._wishes, "somebody to wait for the first")
    reader.exchange.tuning = PATIENT  # from now on it asks
    assert reader.exchange.fetch(second.cid) == second.data
    wait_for(lambda: fetched == [first.data], "the first, that came with the second")


def test_whoever_begins_to_wait_as_the_exchange_is_closed_is_told(machine, monkeypatch):
    reader, told = machine(tuning=WAITING), []
    monkeypatch.setattr(reader.exchange, "_check_connected", reader.exchange.close)

    def fetch() -> None:
        with pytest.raises(TransportError, match="closed"):
            reader.exchange.fetch(Cid.of(RAW, b"late"))
        told.append(True)

    threading.Thread(target=fetch, daemon=True).start()
    wait_for(lambda: told, "the end")


@pytest.mark.parametrize("at_once", [1, 2])
def test_of_many_holders_one_answers_all_who_want(machine, monkeypatch, at_once):
    """What happens at a random moment in life happens here when it is told to; ``at_once`` claims cross each other."""
    told = replace(PATIENT, grace=(0.0, 0.0), ask=600.0, claim=600.0)
    ask, decided, later = MqttExchange._ask, [], []
    monkeypatch.setattr(MqttExchange, "_ask", lambda *wish: (ask(*wish), decided.append(wish)))
    holders = [machine(tuning=told) for _ in range(8)]
    asking, *listening = [machine(tuning=told) for _ in range(4)]
    block = bytes(range(256)) * 400
    for holder in holders:
        cid = holder.local.put(RAW, block)
        later_of = lambda _, action, holder=holder: later.append((holder, action))  # noqa: E731
        monkeypatch.setattr(holder.exchange._inbox, "later", later_of)
    with ThreadPoolExecutor(4) as pool, ExitStack() as leaving:
        for reader in (asking, *listening):
            leaving.callback(reader.exchange.close)  # nobody waits any more, however this ends
        fetched = [pool.submit(asking.exchange.fetch, cid)]
        heard = [reader.exchange._answers for reader in listening]
        wait_for(lambda: all(answers.asked(cid, 0) > 0 for answers in heard), "all to hear that one asks")
        fetched += [pool.submit(reader.exchange.fetch, cid) for reader in listening]
        wait_for(lambda: len(decided) == 4, "the others to listen only")
        wait_for(lambda: len(later) == 8, "all holders to prepare a claim")
        claims, later[:] = later[:], []
        first, publish = claims[0][0].link, claims[0][0].link.publish

        def crossing(*said, **how) -> bool:
            monkeypatch.setattr(first, "publish", publish)
            for _, claim in claims[1:at_once]:
                claim()
            return publish(*said, **how)

        monkeypatch.setattr(first, "publish", crossing)  # the first claim is on its way as the second is made
        claims[0][1]()
        known = 7 if at_once == 1 else 8  # by all but the one who makes it
        wait_for(lambda: sum(h.exchange._claims.latest(cid) > 0 for h in holders) == known, "the claim to be known")
        for _, claim in claims[at_once:]:
            claim()
        assert len(later) == at_once, "who has heard a claim makes none"
        for _, send in later:
            send()
        assert [each.result(60) for each in fetched] == [block] * 4
    assert sum(holder.count("answered") for holder in holders) == 1
    assert [reader.count("wanted") for reader in (asking, *listening)] == [1, 0, 0, 0]


@pytest.mark.parametrize("known", [-1, 199])
def test_a_newcomer_and_a_returner_are_complete_with_one_exchange_an_author(machine, known):
    """Its checkpoint and its head are wanted at the same time, by two threads, as a store does."""
    holder, reader = machine(), machine(tuning=replace(PATIENT, ask=600.0, along=600.0))
    messages = [holder.message() for _ in range(300)]
    prefix, first, newest = holder.identity.author[:PREFIX_BYTES], messages[0], messages[-1]
    reader.frontier.note_heard(Announcement((Entry(prefix, newest.seq, newest.cid, first.cid),)))
    for message in messages[: known + 1]:
        reader.local.put(DAG_CBOR, message.data)
        reader.frontier.note_own(Announcement((Entry(prefix, message.seq, message.cid, first.cid),)))
    with ThreadPoolExecutor(2) as pool, closing(reader.exchange):
        fetched = [pool.submit(reader.exchange.fetch, message.cid) for message in (first, newest)]
        assert [each.result(60) for each in fetched] == [first.data, newest.data]
    assert all(reader.store.has(message.cid) for message in messages[:-1])  # whoever fetches puts the last one there
    assert reader.count("wanted") == holder.count("answered") == 1


def test_what_is_here_already_does_not_come_again(machine, links, broker):
    holder, reader = machine(), machine(tuning=replace(PATIENT, ask=600.0))
    messages = [holder.message() for _ in range(300)]
    entries = [Entry(holder.identity.author[:PREFIX_BYTES], each.seq, each.cid, messages[0].cid) for each in messages]
    reader.frontier.note_own(Announcement((entries[290],)))
    reader.frontier.note_heard(Announcement((entries[299],)))
    answers = Inbox(links.open(plain(broker)), "+/+/+/+/block/+")
    reader.exchange.fetch(messages[299].cid)
    payload = wait_for(lambda: [each.payload for each in answers.received], "the answer")[0]
    assert unpack(payload, 99) == [message.data for message in reversed(messages[291:])]


def test_wrong_bytes_are_refused_counted_and_others_answer(machine, links, broker):
    holder, reader, liar = machine(), machine(), links.open(plain(broker))
    cid, name = Cid.of(RAW, b"true"), "a-liar"
    lies = Topics("learnae/1", str(SWARM), name)

    def lie(_: object) -> None:
        liar.publish(lies.own("have"), dagcbor.encode([cid]))
        liar.publish(lies.own(f"block/{cid}"), pack([b"false"]))

    liar.subscribe(lies.of(reader.name, "want"), lie)
    wait_for_subscriptions(liar)
    with ThreadPoolExecutor(1) as pool, closing(reader.exchange):
        fetched = pool.submit(reader.exchange.fetch, cid)
        wait_for(lambda: reader.count("refused"), "a lie to be refused")
        holder.local.put(RAW, b"true")  # not before: it may be quicker than the liar
        assert fetched.result(60) == b"true"
    assert not reader.local.has(cid)  # whoever fetches puts it there


def test_claims_of_four_liars_silence_no_holder(machine, links, broker):
    holders, reader = [machine() for _ in range(4)], machine()
    cids = [holder.local.put(RAW, b"true %d" % number) for number in range(3) for holder in holders]
    for number in range(4):
        liar, lies = links.open(plain(broker)), Topics("learnae/1", str(SWARM), f"{number}-liar")

        def lie(_: object, liar=liar, lies=lies) -> None:
            liar.publish(lies.own("have"), dagcbor.encode(list(dict.fromkeys(cids))), qos=0)

        liar.subscribe(lies.of(reader.name, "want"), lie)
        wait_for_subscriptions(liar)
    for number, cid in enumerate(dict.fromkeys(cids)):
        assert reader.exchange.fetch(cid) == b"true %d" % number
    for number in range(4):
        reader.exchange._claims.hear(Cid.of(RAW, b"new"), f"{number}-liar")
    assert reader.exchange._claims.latest(Cid.of(RAW, b"new")) < 0, "none of them is believed any more"


@pytest.mark.parametrize("what", ["garbage", "forged", "unnamed", "foreign swarm", "huge want", "no claim", "far cid"])
def test_hostile_topics_change_nothing(machine, links, broker, what):
    reader, author, mallory = machine(holds=True), machine(), links.open(plain(broker))
    evil = Topics("learnae/1", str(SWARM), "mallory")
    message = author.message(b"frame")
    foreign = compose(author.identity, Cid.of(DAG_CBOR, b"x"), 0, (), 1, {"kind": "x"})
    topic, payload = {
        "garbage": (evil.own("message"), b"\xff" * 2000),
        "forged": (evil.own("message"), message.data),
        "unnamed": (evil.own("frame"), b"disk filler"),
        "foreign swarm": (evil.of(author.name, "message"), foreign.data),
        "huge want": (evil.own("want"), dagcbor.encode({"want": [Cid.of(RAW, bytes([n])) for n in range(200)]})),
        "no claim": (evil.own("have"), b"1"),
        "far cid": (evil.of("x" * 500, "message"), message.data),
    }[what]
    mallory.publish(topic, payload)
    wait_for(lambda: reader.count("refused") == 1, "a refusal")
    assert list(reader.local.cids()) == []
    assert reader.heard == []
    good = author.push(b"after")
    wait_for(lambda: reader.store.has(good.blocks[0]), "what is good")


def test_what_strangers_push_never_touches_the_disk(machine):
    author, reader = machine(), machine()
    messages = [author.push() for _ in range(6)]
    wait_for(lambda: reader.store.has(messages[-1].cid), "the last message")
    assert list(reader.local.cids()) == []
    assert reader.store.get(messages[0].cid) == messages[0].data
    assert list(reader.local.cids()) == [messages[0].cid]


def test_a_broker_killed_in_the_middle_of_a_fetch_is_an_error_and_heals(machine, broker, monkeypatch):
    holder, reader, hasty = machine(), machine(), machine(tuning=replace(PATIENT, asks=1))
    cid = holder.local.put(RAW, b"block")
    results: list[BaseException] = []
    asking, is_gone, ask = threading.Event(), threading.Event(), hasty.exchange._ask
    monkeypatch.setattr(
        hasty.exchange, "_ask", lambda *wish: (asking.set(), is_gone.wait(60), ask(*wish))
    )  # fmt: skip

    def fetch() -> None:
        try:
            hasty.exchange.fetch(Cid.of(RAW, b"nobody"))
        except TransportError as error:
            results.append(error)

    thread = threading.Thread(target=fetch)
    thread.start()
    assert asking.wait(60)
    broker.kill()
    wait_for(lambda: not hasty.link.is_connected, "the loss to be noticed")
    is_gone.set()
    thread.join(60)
    assert len(results) == 1
    wait_for(lambda: not reader.link.is_connected, "the loss to be noticed")
    for call in (lambda: reader.exchange.fetch(cid), holder.push):
        with pytest.raises(TransportError):
            call()
    broker.start()
    assert list(reader.exchange.lacking(list)) == []  # waits until it is back
    assert list(holder.exchange.lacking(list)) == []
    wait_for_subscriptions(holder.link)
    wait_for_subscriptions(reader.link)
    assert reader.exchange.fetch(cid) == b"block"
    assert not isinstance(results[0], BlockMissingError)


def test_a_hanging_broker_costs_an_offer_its_timeout_and_no_more(machine, broker):
    author, hasty, reader = machine(), machine(tuning=replace(PATIENT, offer=1.0)), machine()
    broker.hang()
    with pytest.raises(TransportError, match="not acknowledged within 1 s"):
        hasty.push()
    broker.resume()
    message = author.push()
    wait_for(lambda: reader.store.has(message.cid), "a push after that")


def test_a_flood_is_dropped_and_the_link_lives(machine, links, broker):
    reader, author = machine(tuning=replace(PATIENT, inbox_messages=4)), machine()
    mallory = links.open(plain(broker))
    for _ in range(400):
        mallory.publish(f"learnae/1/{SWARM}/mallory/message", bytes(10_000))
    inbox = Inbox(links.open(plain(broker)), "done")
    mallory.publish("done", b"")
    inbox.wait_for("done", b"")
    wait_for(lambda: reader.count("refused") + reader.count("dropped: too fast") == 400, reader.exchange.state())
    message = author.push()
    wait_for(lambda: reader.store.has(message.cid), "what is good")


def test_what_the_broker_cannot_take_is_left_out_and_a_long_past_comes_in_parts(tmp_path, links):
    with Mosquitto(tmp_path / "small", extra="max_packet_size 3000") as broker:
        author, other = (Machine(tmp_path, links, broker, tuning=replace(PATIENT, asks=3)) for _ in range(2))
        for each in (author, other):
            wait_for_subscriptions(each.link)
        past = [author.message() for _ in range(20)]
        newest = author.push(bytes(5000))
        wait_for(lambda: other.store.has(newest.cid), "the message, though its frame is too large")
        for message in reversed(past):
            if not other.store.has(message.cid):
                assert other.exchange.fetch(message.cid) == message.data
        assert 1 < other.count("wanted") < 20
        with pytest.raises(BlockMissingError):
            other.exchange.fetch(newest.blocks[0])
        assert author.count("not pushed: too large for the broker") == 1
        assert author.count("not answered: too large for the broker") >= 1
        assert broker.log.count("New client connected") == 2, "nothing has ended a connection"
        for each in (author, other):
            each.exchange.close()
