"""The bridge's socket and its listeners: every record arrives once, in order, at each of them."""

import os
import random
import socket
import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from boards_protocol import SCHEMA, readings
from programs import wait_for

from firmware_bridge.errors import BridgeMissingError, RecordError
from firmware_bridge.records import Label, LinkState, Listen, Readings, Schema, to_bytes
from firmware_bridge.socket_api.backlog import MAX_BYTES, Backlog
from firmware_bridge.socket_api.client import Client
from firmware_bridge.socket_api.server import Server
from learnae.errors import ConfigurationError, StateError


class Bench:
    """A server and its clients, moved by hand."""

    def __init__(self, path, **options) -> None:
        self.path, self.options = path, options
        self.server = Server(path, **options)

    def client(self, after=None) -> Client:
        client = Client(self.path, after or Listen(), rng=random.Random(1))
        assert client.read() == []
        self.server.step()
        return client

    def hear(self, *clients: Client) -> list[list]:
        heard: list[list] = [[] for _ in clients]
        for _ in range(50):
            self.server.step()
            for client, own in zip(clients, heard, strict=True):
                own.extend(client.read())
        return heard

    def restart(self) -> None:
        self.server.close()
        self.server = Server(self.path, **self.options)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "bridge.sock")
    yield bench
    bench.server.close()


def kinds(records) -> list[str]:
    return [record.kind for record in records]


def sequences(records) -> list[int]:
    return [number for record in records if isinstance(record, Readings) for number in numbers(record)]


def numbers(record: Readings) -> list[int]:
    return list(range(record.sequence, record.sequence + record.rows))


# -- listeners


def test_every_listener_hears_everything_schema_first(bench):
    bench.server.publish(SCHEMA)
    first, second = bench.client(), bench.client()
    bench.server.publish(readings(0))
    bench.server.publish(Label(2.0, "walking"))
    for heard in bench.hear(first, second):
        assert kinds(heard) == ["schema", "readings", "label"]
        assert heard[0] == SCHEMA
        np.testing.assert_array_equal(heard[1].values, readings(0).values)


def test_a_newcomer_hears_the_schema_and_nothing_old(bench):
    bench.server.publish(SCHEMA)
    bench.server.publish(readings(0))
    newcomer = bench.client()
    bench.server.publish(readings(5))
    (heard,) = bench.hear(newcomer)
    assert kinds(heard) == ["schema", "readings"]
    assert sequences(heard) == [5, 6, 7, 8, 9]


def test_a_newcomer_hears_how_the_link_is(bench):
    bench.server.publish(SCHEMA)
    bench.server.publish(LinkState(1.0, "up"))
    bench.server.publish(LinkState(2.0, "missed", "", 3))
    bench.server.publish(LinkState(3.0, "down", "unplugged"))
    (heard,) = bench.hear(bench.client())
    assert heard == [SCHEMA, LinkState(3.0, "down", "unplugged")]


def test_a_listener_that_was_away_goes_on_where_it_was(bench):
    bench.server.publish(SCHEMA)
    client = bench.client()
    bench.server.publish(readings(0))
    (before,) = bench.hear(client)
    position = client.position
    client.close()
    bench.server.publish(readings(5))
    bench.server.publish(Label(1.0, "a"))
    again = bench.client(position)
    bench.server.publish(readings(10))
    (after,) = bench.hear(again)
    assert position == Listen("pump-1", 5)
    assert kinds(after) == ["schema", "readings", "label", "readings"]
    assert sequences(before) + sequences(after) == list(range(15))


def test_a_new_schema_that_nothing_followed_yet_loses_no_position(bench):
    bench.server.publish(SCHEMA)
    client = bench.client()
    bench.server.publish(readings(0))
    other = Schema("pump-2", "pump", "1.1", SCHEMA.channels, 50.0)
    bench.server.publish(other)
    bench.hear(client)
    again = bench.client(client.position)
    bench.server.publish(readings(0))
    (heard,) = bench.hear(again)
    assert [record for record in heard if isinstance(record, Schema)][-1] == other
    assert sequences(heard) == [0, 1, 2, 3, 4]
    assert again.position == Listen("pump-2", 5)


def test_what_a_restarted_bridge_says_again_is_heard_once(bench):
    bench.server.publish(SCHEMA)
    client = bench.client()
    bench.server.publish(readings(0))
    (before,) = bench.hear(client)
    bench.restart()
    bench.server.publish(SCHEMA)
    bench.server.publish(readings(3))  # two of them are known
    bench.server.publish(readings(4, 4))  # all of them
    bench.server.publish(readings(8))
    after = []
    wait_for(lambda: after.extend(bench.hear(client)[0]) or sequences(after)[-1:] == [12], "the client to be back")
    assert sequences(before) + sequences(after) == list(range(13))
    assert "link" in kinds(after)  # it said that the bridge was gone


def test_what_no_bridge_could_tell_the_client_tells(bench):
    bench.server.publish(SCHEMA)
    client = bench.client()
    bench.server.publish(readings(0))
    bench.server.publish(LinkState(1.0, "missed", "told", 2))
    bench.server.publish(readings(7))
    bench.server.publish(readings(20))
    (heard,) = bench.hear(client)
    assert [record.missed for record in heard if isinstance(record, LinkState)] == [2, 8]
    assert kinds(heard)[-2:] == ["link", "readings"]


def test_a_slow_listener_is_told_what_it_missed_and_slows_nobody(tmp_path):
    bench = Bench(tmp_path / "s", backlog=Backlog(limit=20_000))
    bench.server.publish(SCHEMA)
    slow, quick = bench.client(), bench.client()
    received: list = []
    total = 4000
    for number in range(total):
        bench.server.publish(readings(number * 5))
        bench.server.step()
        received += quick.read()
    (late, rest) = bench.hear(slow, quick)
    assert sequences(received + rest) == list(range(total * 5))
    missed = [record for record in late if isinstance(record, LinkState)]
    assert len(missed) == 1
    assert missed[0].state == "missed"
    assert missed[0].missed + len(sequences(late)) == total * 5
    assert missed[0].missed > 0
    place = late.index(missed[0])
    assert late[place - 1] == SCHEMA  # said again, as it may have changed meanwhile
    assert sequences(late[place:]) == list(range(total * 5))[-len(sequences(late[place:])) :]
    bench.server.close()


def test_the_backlog_is_bounded():
    backlog = Backlog(limit=5000)
    backlog.add(SCHEMA)
    for number in range(1000):
        backlog.add(readings(number * 5))
    assert sum(len(backlog.data(number)) for number in range(backlog.first, backlog.next)) <= 5000
    assert backlog.samples_before(backlog.next) == 5000
    assert backlog.schema_before(backlog.first) == to_bytes(SCHEMA)
    assert backlog.find(Listen("pump-1", 3)) == backlog.first  # forgotten: what is left
    assert backlog.find(Listen("pump-1", 4995)) == backlog.next - 1


def test_the_backlog_of_a_stream_begins_after_the_one_before():
    backlog = Backlog()
    for record in (SCHEMA, readings(0), replace(SCHEMA, stream="pump-2"), readings(0), readings(5)):
        backlog.add(record)
    assert backlog.find(Listen("pump-2", 0)) == backlog.find(Listen("pump-2", 3)) == 2
    assert backlog.find(Listen("pump-2", 5)) == 4
    assert backlog.find(Listen("pump-1", 5)) == 2
    assert backlog.find(Listen("pump-0", 5)) == 0  # nothing of it is known: what is left


@pytest.mark.parametrize("said", [to_bytes(SCHEMA), b"GET / HTTP/1.1\r\n\r\n", to_bytes(Listen()) + to_bytes(Listen())])
def test_whoever_does_not_listen_is_let_go(bench, said):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(bench.path))
        stranger.sendall(said)
        bench.hear()
        assert stranger.recv(10) == b""
    assert bench.server.listeners == 0


def test_a_connection_that_says_nothing_is_let_go(tmp_path):
    now = [100.0]
    bench = Bench(tmp_path / "s", now=lambda: now[0])
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(bench.path))
        bench.server.step()
        now[0] += 11
        bench.server.step()
        assert stranger.recv(10) == b""
    bench.server.close()


def test_listeners_are_bounded(tmp_path):
    bench = Bench(tmp_path / "s", limit=2)
    clients = [bench.client() for _ in range(3)]
    bench.hear(*clients)
    assert bench.server.listeners == 2
    bench.server.close()


def test_only_owner_and_group_may_connect(bench):
    assert bench.path.stat().st_mode & 0o777 == 0o660


def path_of_killed(path) -> None:
    """What a bridge that was killed leaves behind."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def test_the_socket_of_a_killed_bridge_is_replaced(tmp_path):
    path = tmp_path / "bridge.sock"
    path_of_killed(path)
    server = Server(path)
    server.close()
    assert not path.exists()


def test_two_bridges_cannot_share_a_socket(bench):
    with pytest.raises(StateError, match="another bridge"):
        Server(bench.path)


def test_of_two_bridges_that_begin_at_once_one_listens_and_the_other_says_so(tmp_path, monkeypatch):
    path = tmp_path / "bridge.sock"
    path_of_killed(path)
    listen, others, refused = socket.socket.listen, [], []

    def begin() -> None:
        try:
            Server(path).close()
        except StateError as error:
            refused.append(error)

    def meanwhile(own: socket.socket) -> None:  # it has the path, and does not listen yet
        monkeypatch.setattr(socket.socket, "listen", listen)
        others.append(threading.Thread(target=begin))
        others[0].start()
        others[0].join(0.3)
        listen(own)

    monkeypatch.setattr(socket.socket, "listen", meanwhile)
    server = Server(path)
    others[0].join(60)
    assert len(refused) == 1
    client = Client(path)
    client.read()
    assert client.is_connected
    server.close()


def test_a_bridge_that_ends_leaves_the_path_to_the_one_that_begins(bench):
    class Held:
        """The socket of the bridge that ends; the moment that it is closed, another bridge begins."""

        def __init__(self, own: socket.socket) -> None:
            self.accept, self.own, self.begun = own.accept, own, []

        def close(self) -> None:
            self.own.close()
            self.begun.append(Server(bench.path))

    held = Held(bench.server._socket)
    bench.server._socket = held
    bench.server.close()
    (bench.server,) = held.begun
    assert bench.client().is_connected


def test_a_bridge_that_has_no_room_for_another_newcomer_is_no_stale_one(tmp_path):
    path = tmp_path / "bridge.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            for each in (first, second):
                each.setblocking(False)
                with suppress(BlockingIOError):
                    each.connect(str(path))
            with pytest.raises(StateError, match="another bridge"):
                Server(path)


def test_a_place_for_no_socket_is_a_named_error(tmp_path):
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / ("x" * 120), tmp_path / "file" / "bridge.sock"):
        with pytest.raises(ConfigurationError):
            Server(path)
    with pytest.raises(StateError):
        Server(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(ConfigurationError, match="nobody-has-this"):
        Server(tmp_path / "s", group="nobody-has-this")


def test_a_client_without_a_bridge_says_so_once_and_backs_off(tmp_path):
    now = [0.0]
    client = Client(tmp_path / "none", clock=lambda: now[0], rng=random.Random(1))
    attempts = []

    def connects() -> bool:
        before = client._retry
        client.read()
        return client._retry != before

    (state,) = client.read()
    assert isinstance(client.problem, BridgeMissingError)
    assert "firmware-bridge run" in str(client.problem)
    assert (state.state, str(client.problem)) == ("down", state.reason)
    for _ in range(6000):
        now[0] += 0.01
        if connects():
            attempts.append(now[0])
    assert 12 < len(attempts) < 30
    assert client.read() == []


def test_a_client_refuses_what_is_no_bridge(tmp_path):
    path = tmp_path / "other"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def speak() -> None:
            connection, _ = other.accept()
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.recv(1)
            connection.close()

        speaker = threading.Thread(target=speak)
        speaker.start()
        client = Client(path)
        (state,) = wait_for(client.read, "the client to refuse")
        speaker.join(60)
    assert "no bridge" in state.reason
    assert isinstance(client.problem, RecordError)


def test_readings_without_their_schema_are_refused(bench):
    client = bench.client()
    bench.server.publish(readings(0))
    (heard,) = bench.hear(client)
    assert "schema" in heard[0].reason


def test_a_client_may_be_waited_for(bench):
    client = bench.client()
    assert client.is_connected
    assert os.fstat(client.fileno())
    client.close()
    assert client.fileno() == -1


def test_the_backlog_keeps_a_minute_of_a_fast_board():
    size = len(to_bytes(Readings(10**6, 1.7e9, 1e-3, np.zeros((10, 6)))))
    assert MAX_BYTES / size > 60 * 100
