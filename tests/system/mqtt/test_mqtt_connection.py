"""The one MQTT connection against a real broker: it comes back, says once what is wrong, and keeps its bounds."""

import logging
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from daemon import HOST, free_port
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Inbox, Links, plain, secure
from programs import clean_environment, wait_for

from learnae.adapters.mqtt.client import Will
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.outage import RIVAL, Outage
from learnae.adapters.mqtt.session import Session
from learnae.adapters.mqtt.topics import Topics
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError, EncodingError, TransportError
from learnae.ipld.cid import RAW, Cid

pytestmark = pytest.mark.engine("mosquitto")

ACL = """\
user alice
topic write learnae/1/swarm/alice/#
topic read learnae/1/#
user watcher
topic read learnae/1/#
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"), ["alice", "watcher"])


@pytest.fixture
def broker(tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", certificates, ACL) as running:
        yield running


@pytest.fixture
def opened() -> Iterator[Callable[..., MqttConnection]]:
    with Links() as links:
        yield links.open


def test_what_one_publishes_the_other_hears_with_its_content_type(broker, opened):
    inbox = Inbox(opened(plain(broker)), "a/+/c")
    speaker = opened(plain(broker))
    speaker.publish("a/b/c", b"\x00\xff", content_type="application/cbor")
    received = wait_for(lambda: inbox.received, "a message")[0]
    assert (received.topic, received.payload, received.content_type) == ("a/b/c", b"\x00\xff", "application/cbor")


def test_a_retained_value_and_subscriptions_survive_a_broker_that_forgets_everything(broker, opened):
    inbox = Inbox(opened(plain(broker)), "state/#")
    speaker = opened(plain(broker))
    speaker.keep("state/one", b"1")
    inbox.wait_for("state/one", b"1")
    inbox.clear()
    broker.kill()
    wait_for(lambda: not speaker.is_connected and not inbox.link.is_connected, "both to notice")
    speaker.keep("state/one", b"2")  # while away: only the newest matters
    speaker.keep("state/one", b"3")
    broker.start()
    inbox.wait_for("state/one", b"3")
    assert ("state/one", b"2") not in inbox.heard
    late = Inbox(opened(plain(broker)), "state/#")
    late.wait_for("state/one", b"3")
    speaker.keep("state/one", b"")
    inbox.wait_for("state/one", b"")


def test_a_retained_value_is_heard_once_by_whoever_subscribes_as_the_connection_comes(broker, opened, caplog):
    speaker = opened(plain(broker))
    speaker.keep("state/one", b"1")
    wait_for(lambda: not speaker._queue.is_on_its_way, "the broker to have it")
    caplog.set_level(logging.INFO, "learnae")
    logger = logging.getLogger("learnae.adapters.mqtt.outage")
    logger.addFilter(slowly)  # the network thread is held up as it says "connected"
    try:
        link, heard = opened(plain(broker)), []
    finally:
        logger.removeFilter(slowly)
    link.subscribe("state/#", heard.append)
    for end in ("state/first", "state/second"):  # what greets the broker has done so before the first comes back
        link.publish(end, b"")
        wait_for(lambda end=end: [one for one in heard if one.topic == end], end)
    assert [one.payload for one in heard if one.topic == "state/one"] == [b"1"]


def slowly(_: logging.LogRecord) -> bool:
    time.sleep(0.2)
    return True


def test_what_is_said_in_the_midst_of_a_connection_waits_for_it(broker, opened, caplog):
    inbox = Inbox(opened(plain(broker)), "early")
    link, said = MqttConnection(plain(broker)), []

    def speak(*_: object) -> None:  # before CONNECT: a broker hangs up on whoever says anything else first
        link.subscribe("x", lambda _: None)
        said.append(link.publish("early", b"1"))

    link._client.on_socket_open = speak
    with caplog.at_level(logging.WARNING, "learnae"):
        link.start()
        inbox.wait_for("early", b"1")
        link.close()
    assert said == [True]
    assert "is away" not in caplog.text


def test_a_link_that_is_closed_before_the_broker_has_answered_never_connects(broker, opened):
    inbox = Inbox(opened(plain(broker)), "state/#")
    broker.hang()
    link = opened(plain(broker), wait=False)
    link.keep("state/one", b"1")
    wait_for(link._client.socket, "the connection that nobody answers")
    link.close()
    broker.resume()
    wait_for(lambda: not link._thread.is_alive(), "its thread to end")
    inbox.link.deliver("state/mark", b"", 60)
    inbox.wait_for("state/mark", b"")
    assert [topic for topic, _ in inbox.heard] == ["state/mark"]


def test_who_subscribes_as_another_unsubscribes_hears(broker, opened, monkeypatch):
    link, heard = opened(plain(broker)), []
    Inbox(link, "x")
    remove, subscribing = link._client.message_callback_remove, []

    def meanwhile(topic_filter: str) -> None:
        subscribing.append(threading.Thread(target=link.subscribe, args=("x", heard.append)))
        subscribing[0].start()
        subscribing[0].join(0.3)
        remove(topic_filter)

    monkeypatch.setattr(link._client, "message_callback_remove", meanwhile)
    link.unsubscribe("x")
    subscribing[0].join(60)
    link.deliver("x", b"1", 60)
    wait_for(lambda: heard, "what was subscribed to last")


def test_what_was_handed_over_before_the_broker_died_arrives_when_it_is_back(broker, opened):
    speaker = opened(plain(broker))
    taken = []
    broker.hang()
    for number in range(50):
        assert speaker.publish("log/x", b"%d" % number, done=taken.append)
    broker.kill()
    assert taken == []
    wait_for(lambda: not speaker.is_connected, "the speaker to notice")
    broker.start()
    inbox = Inbox(opened(plain(broker)), "log/#")
    wait_for(lambda: taken == [True] * 50, "fifty acknowledgements")
    assert inbox.link.is_connected
    assert speaker.publish("log/x", b"after")
    inbox.wait_for("log/x", b"after")


def test_the_queue_is_bounded_while_the_broker_is_away(opened):
    link = opened(MqttSection(broker=f"mqtt://{HOST}:{free_port()}"), wait=False)
    fitting = sum(link.publish("x", bytes(1 << 20)) for _ in range(20))
    assert fitting == 7  # of 8 MiB, each with its topic
    small = opened(MqttSection(broker=f"mqtt://{HOST}:{free_port()}"), wait=False)
    assert sum(small.publish("x", b"") for _ in range(1500)) == 1000
    assert not small.publish("x", b"", qos=0)


def test_a_broker_that_is_not_there_is_said_once_and_found_when_it_comes(broker, opened, caplog):
    broker.kill()
    with caplog.at_level(logging.INFO, "learnae"):
        link = opened(plain(broker), wait=False)
        wait_for(lambda: "refused" in link.state(), "the first attempt")
        assert re.fullmatch(r"away since \d\d:\d\d:\d\d: .*refused; start it, or check its port", link.state())
        time.sleep(1.5)  # two more attempts
        broker.start()
        wait_for(lambda: link.state() == "connected", "a connection")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert "is away: [Errno 111] Connection refused; start it, or check its port; trying again" in said[0]
    assert said[1].endswith("connected")


def test_two_processes_with_one_key_are_told_of_each_other_once_and_give_way(broker, opened, caplog):
    topics = Topics("t", str(Cid.of(RAW, b"swarm")), "alice")
    with caplog.at_level(logging.INFO, "learnae"):
        two = [MqttConnection(plain(broker), "same", outage=Outage("b", most_yield=2.0)) for _ in range(2)]
        for link in two:
            Session(link, topics)
            link.start()
        wait_for(lambda: all(RIVAL in link.state() for link in two), "both to name the other")
        before, begun = broker.log.count("New client connected"), time.monotonic()
        time.sleep(6)
        connections, took = broker.log.count("New client connected") - before, time.monotonic() - begun
        assert all(RIVAL in link.state() for link in two), "it is said as long as it lasts"
    said = [record.getMessage() for record in caplog.records]
    assert [RIVAL in text for text in said].count(True) == 2, said
    assert len(said) <= 10  # at most twice connected and once lost, each, before it is known
    assert connections <= 2 * (1 + took)  # first quickly, then each waits at least a second
    two[0].close()
    wait_for(lambda: two[1].state() == "connected", "the other to be alone")
    two[1].close()


def test_a_peer_that_is_back_or_starts_again_has_no_rival(broker, opened):
    topics, link = Topics("t", str(Cid.of(RAW, b"swarm")), "alice"), MqttConnection(plain(broker), "same")
    Session(link, topics)
    inbox = Inbox(opened(plain(broker)), topics.own("session"))
    link.start()
    wait_for(lambda: inbox.received, "its word")
    link._client.socket().shutdown(socket.SHUT_RDWR)
    wait_for(lambda: broker.log.count("as same") == 2 and link.is_connected, "it to be back")
    Inbox(link, "after what is retained")
    link.close()
    again = MqttConnection(plain(broker), "same")
    Session(again, topics)
    again.start()
    wait_for(lambda: len(inbox.received) >= 3, "its new word")
    Inbox(again, "after what is retained")
    assert (link._outage.is_contested, again.state()) == (False, "connected")
    again.close()


def test_a_client_certificate_opens_and_the_acl_refuses_once_and_counted(broker, certificates, opened, caplog):
    inbox = Inbox(opened(secure(broker, certificates, "watcher")), "learnae/1/#")
    link = opened(secure(broker, certificates, "alice"))
    taken = []
    with caplog.at_level(logging.WARNING, "learnae"):
        for _ in range(3):
            link.publish("learnae/1/swarm/bob/state", b"forged", done=taken.append)
        link.deliver("learnae/1/swarm/alice/state", b"own", 60)
    inbox.wait_for("learnae/1/swarm/alice/state", b"own")
    assert taken == [False] * 3
    assert inbox.heard == [("learnae/1/swarm/alice/state", b"own")]
    assert link.state() == "connected, 3 refused by the broker"
    refusals = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
    assert len(refusals) == 1
    assert "publishing to learnae/1/swarm/bob/state: Not authorized; check its ACL" in refusals[0]
    with pytest.raises(TransportError, match="refuses learnae/1/swarm/bob/x"):
        link.deliver("learnae/1/swarm/bob/x", b"forged", 60)


def test_wrong_and_missing_certificates_are_named_and_never_fall_back(broker, certificates, tmp_path, opened):
    stranger = Certificates(tmp_path / "strangers", ["alice"])
    wrong = opened(secure(broker, stranger, "alice", ca_file=str(certificates.authority)), wait=False)
    unknown = opened(secure(broker, certificates, "alice", ca_file=str(stranger.authority)), wait=False)
    none = opened(secure(broker, certificates, "alice", cert_file="", key_file=""), wait=False)
    name = MqttSection(broker=f"mqtts://127.0.0.2:{broker.tls_port}", ca_file=str(certificates.authority))
    for link, word in ((wrong, "(?i)unknown.ca"), (unknown, "verify failed"), (none, "(?i)certificate.required")):
        wait_for(lambda link=link, word=word: re.search(word, link.state()), f"{word} in {link.state()}")
        assert not link.is_connected
    with pytest.raises(ConfigurationError, match="ca_file"):
        MqttConnection(secure(broker, certificates, "alice", ca_file=str(tmp_path / "nothing")))
    assert name.address().tls


def test_certificates_that_were_renewed_are_used_at_the_next_connection(tmp_path, opened):
    before, after = Certificates(tmp_path / "before", ["alice"]), Certificates(tmp_path / "after", ["alice"])
    used = tmp_path / "used"
    shutil.copytree(before.directory, used)
    with Mosquitto(tmp_path / "broker", before) as broker:
        section = secure(broker, before, "alice")
        files = {name: str(used / Path(getattr(section, name)).name) for name in ("ca_file", "cert_file", "key_file")}
        link = opened(replace(section, **files))
        old = opened(section)
        shutil.copytree(after.directory, used, dirs_exist_ok=True)
        assert link.is_connected
        broker.kill()
        configuration = broker.directory / "mosquitto.conf"
        configuration.write_text(configuration.read_text().replace(f"{before.directory}/", f"{after.directory}/"))
        wait_for(lambda: not link.is_connected, "the broker to be missed")
        (used / "alice.crt").write_text("half a certific")  # who renews it is not done yet
        broker.start()
        wait_for(lambda: "away" in link.state() and "refused" not in link.state(), "an attempt with half of it")
        shutil.copytree(after.directory, used, dirs_exist_ok=True)
        wait_for(lambda: link.is_connected, "a connection with the renewed one")
        assert not old.is_connected


def test_a_password_comes_from_a_credential_file(tmp_path, opened, monkeypatch):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "alice", "secret"], check=True, timeout=30)
    with Mosquitto(tmp_path / "broker", extra=f"password_file {passwords}\nallow_anonymous false") as broker:
        directory = tmp_path / "credentials"
        directory.mkdir()
        (directory / "password").write_text("secret\n")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
        opened(plain(broker, user="alice", password_file="password"))
        (directory / "password").write_text("wrong\n")
        refused = opened(plain(broker, user="alice", password_file="password"), wait=False)
        wait_for(lambda: "Not authorized" in refused.state(), "a refusal")
        with pytest.raises(ConfigurationError, match="password_file: cannot read"):
            MqttConnection(plain(broker, user="alice", password_file="absent"))


def test_the_last_will_is_seen_when_a_process_hangs(broker, opened):
    inbox = Inbox(opened(plain(broker)), "p/status")
    program = (
        "import sys, time\n"
        "from learnae.adapters.mqtt.client import Will\n"
        "from learnae.adapters.mqtt.connection import MqttConnection\n"
        "from learnae.config.sections import MqttSection\n"
        "link = MqttConnection(MqttSection(broker=sys.argv[1], keep_alive=6), will=Will('p/status', b'offline'))\n"
        "link.keep('p/status', b'online'); link.start(); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, f"mqtt://{HOST}:{broker.port}"], env=clean_environment())
    try:
        inbox.wait_for("p/status", b"online")
        process.send_signal(19)  # SIGSTOP
        inbox.wait_for("p/status", b"offline")
        # told two seconds, the broker waits for three, and looks every five: within 1.5 times the six of the section
        assert re.search(r"New client connected .*\(p5, c1, k2\)", broker.log), broker.log
    finally:
        process.kill()
        process.wait()


def test_a_clean_close_leaves_no_will(broker, opened):
    inbox = Inbox(opened(plain(broker)), "p/status")
    link = MqttConnection(plain(broker), will=Will("p/status", b"offline"))
    link.start()
    link.keep("p/status", b"online")
    inbox.wait_for("p/status", b"online")
    link.keep("p/status", b"stopped")
    link.close()
    inbox.wait_for("p/status", b"stopped")
    link.close()
    assert [payload for _, payload in inbox.heard] == [b"online", b"stopped"]


def test_a_hanging_broker_is_left_and_costs_no_processor_time(broker, opened, caplog):
    link = opened(plain(broker, keep_alive=1))
    with caplog.at_level(logging.WARNING, "learnae"):
        broker.hang()
        clock = time.pthread_getcpuclockid(link._thread.ident)  # other threads have other things to do
        before, begun = time.clock_gettime(clock), time.monotonic()
        wait_for(lambda: "Keep alive timeout" in link.state(), "the silence to be noticed")
        time.sleep(2)
        used, took = time.clock_gettime(clock) - before, time.monotonic() - begun
    assert not link.is_connected
    assert used < took / 10
    assert len([r for r in caplog.records if "is away" in r.getMessage()]) >= 1
    broker.resume()
    wait_for(lambda: link.is_connected, link.state())


def test_a_handler_that_fails_stops_neither_the_link_nor_the_others(broker, opened, caplog):
    link, heard = opened(plain(broker)), []

    def refuse(received) -> None:
        raise EncodingError("not CBOR")

    def stumble(received) -> None:
        raise RuntimeError("a mistake")

    link.subscribe("x", refuse)
    link.subscribe("x", stumble)
    link.subscribe("x", heard.append)
    with caplog.at_level(logging.WARNING, "learnae"):
        link.publish("x", b"1")
        link.publish("x", b"2")
        wait_for(lambda: len(heard) >= 2, "both messages")
    assert link.is_connected
    assert link.counts["bad"] == link.counts["failed"] == 2
    assert len([r for r in caplog.records if "not CBOR" in r.getMessage()]) == 1


def test_something_that_is_no_broker_is_given_up_and_tried_again(opened):
    with socket.create_server((HOST, 0)) as server:
        accepted: list[socket.socket] = []

        def answer() -> None:
            accepted.append(server.accept()[0])
            with suppress(OSError):  # a busy machine may be too late
                accepted[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        section = MqttSection(broker=f"mqtt://{HOST}:{server.getsockname()[1]}")
        link = opened(section, wait=False, connect_seconds=0.5)
        wait_for(lambda: accepted, "a first attempt")
        wait_for(lambda: "no answer" in link.state(), link.state())
        accepted[0].close()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"broker": "http://x"}, "mqtt.broker"),
        ({"broker": "mqtt://"}, "mqtt.broker"),
        ({"broker": "mqtt://u:p@x"}, "files"),
        ({"broker": "mqtt://x:99999"}, "mqtt.broker"),
        ({"broker": "mqtt://x", "ca_file": "a"}, "mqtts"),
        ({"cert_file": "a"}, "key_file"),
        ({"password_file": "a"}, "user"),
        ({"prefix": "a/#"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"keep_alive": 0}, "keep_alive"),
        ({"queue_rows": 0}, "queue"),
    ],
)
def test_mistakes_of_the_section_are_named(changes, word):
    with pytest.raises(ConfigurationError, match=word):
        MqttSection(**changes)
