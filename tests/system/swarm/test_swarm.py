"""Real processes on one machine: a swarm that grows, loses members and goes on."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from messages_here import seqs_in

from demo.people import PEOPLE, Exam, accuracy, make_exam
from demo.swarm import Swarm, peer_of
from learnae.errors import LearnaeError
from learnae.protocol.identity import Identity
from learnae.runtime.observer import Observer, PeerView, estimate_of

pytestmark = pytest.mark.slow

LONG = 300.0  # seconds for eight processes on two cores, which others may want, too; 15 where nobody does


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


class Watched:
    """A running swarm, an observer of it, and everybody's held-out windows."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.swarm = Swarm.create(home)
        self.observer = Observer(self.swarm.directory)
        self.exam: Exam = make_exam(self.observer.manifest)

    def view(self, name: str) -> PeerView:
        self.observer.refresh()
        return next(view for view in self.observer.peers() if view.name == name)

    def reached(self, name: str) -> float:
        """Accuracy of the peer's own consensus estimate on everybody's held-out windows."""
        try:
            estimate = estimate_of(self.swarm.home / "peers" / name, self.observer.manifest)
        except LearnaeError:
            return 0.0
        return accuracy(self.observer.manifest, estimate.vector, self.exam)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    running = Watched(tmp_path_factory.mktemp("swarm") / "home")
    try:
        for person in PEOPLE:
            running.swarm.add(person)
        yield running
    finally:
        running.swarm.stop()


def test_eight_peers_learn_together(watched: Watched) -> None:
    names = [peer_of(person) for person in PEOPLE]
    assert wait_for(lambda: min(map(watched.reached, names)) >= 0.90, LONG), list(map(watched.reached, names))
    watched.swarm.check()


def test_a_ninth_peer_soon_reaches_the_others(watched: Watched) -> None:
    others = [watched.reached(peer_of(person)) for person in PEOPLE]
    watched.swarm.start(*watched.swarm.join(3, "late"))
    goal = min(others) - 0.01
    assert wait_for(lambda: watched.reached("late") >= goal, LONG), (watched.reached("late"), others)


def test_a_killed_peer_goes_on_from_its_own_state(watched: Watched) -> None:
    name, home = peer_of(2), watched.swarm.home
    key = Identity.load(home / "peers" / name / "key.pem").author
    process = watched.swarm.processes[name]
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    before = watched.view(name)
    watched.swarm.start(name, "agent", home / f"{name}.toml")
    assert wait_for(lambda: watched.view(name).seq > before.seq + 3, LONG)
    after = watched.view(name)
    assert Identity.load(home / "peers" / name / "key.pem").author == key
    assert after.steps > before.steps
    assert not watched.observer.tangle.is_banned(key)
    own = seqs_in(watched.swarm.directory, key)
    assert len(own) == len(set(own)) > 0


def test_the_last_peer_trains_on(watched: Watched) -> None:
    survivor = peer_of(7)
    for name, process in watched.swarm.processes.items():
        if name != survivor:
            process.kill()
            process.wait(60)
    before = watched.view(survivor)
    assert wait_for(lambda: watched.view(survivor).steps > before.steps + 500, LONG)
    assert watched.reached(survivor) >= 0.85
    assert watched.swarm.processes[survivor].poll() is None


def test_one_peer_alone_is_a_working_swarm(tmp_path: Path) -> None:
    alone = Watched(tmp_path / "home")
    try:
        alone.swarm.add(8)
        name = peer_of(8)
        assert wait_for(lambda: alone.observer.refresh() > 20 and (alone.view(name).accuracy or 0) > 0.85, LONG)
        assert len(alone.observer.peers()) == 1
    finally:
        alone.swarm.stop()
