"""A swarm of eight processes, and a ninth that comes in the middle: how soon it is as good as the others."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.harness import AT_MOST, Race
from bench.rigs.processes import wait_until
from demo.people import PEOPLE, accuracy, make_exam
from demo.swarm import Swarm, peer_of
from learnae.errors import LearnaeError
from learnae.runtime.observer import Observer, estimate_of

_LATE, _SAME_AS = "late", 3  # the ninth has the recordings of the third person
_AS_GOOD = 0.01  # within a point of the worst of the others
_TIMEOUT_SECONDS, _LOOK_SECONDS = 180.0, 0.1


def run(race: Race) -> None:
    """Start the swarm, let it learn, add one."""
    people, learnt = (PEOPLE[:3], 0.5) if race.quick else (PEOPLE, 0.9)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        home.mkdir()
        swarm = Swarm.create(home)
        try:
            _measure(race, swarm, people, learnt)
        finally:
            swarm.stop()


def _measure(race: Race, swarm: Swarm, people: Sequence[int], learnt: float) -> None:
    names, reached = [peer_of(person) for person in people], _judge(swarm)
    with race.step(f"{len(names)} peers that learn until the worst has {learnt:.0%}"):
        begun = time.monotonic()
        for person in people:
            swarm.add(person)
        _wait(lambda: min(map(reached, names)) >= learnt)
        race.figure(f"{len(names)} peers, together {learnt:.0%}: after", time.monotonic() - begun, "s")
    worst, looks = min(map(reached, names)), [0.0]
    late = swarm.join(_SAME_AS, _LATE)

    def is_as_good() -> bool:
        looks.append(reached(_LATE))
        return looks[-1] >= worst - _AS_GOOD

    with race.step("one more"):
        begun = time.monotonic()
        swarm.start(*late)
        _wait(is_as_good)
        seconds = time.monotonic() - begun
    race.figure("accuracy of the newcomer", looks[-1])
    race.figure("accuracy of the worst of the others when it came", worst)
    note = f"from the start of its process to within {100 * _AS_GOOD:.0f} point of the worst of {len(names)}"
    race.check("a newcomer is as good as the others", seconds, 20.0, AT_MOST, "s", note)
    swarm.check()


def _judge(swarm: Swarm) -> Callable[[str], float]:
    observer = Observer(swarm.directory)
    exam = make_exam(observer.manifest)

    def reached(name: str) -> float:
        """Return the accuracy of a peer's own consensus estimate on all held-out windows."""
        try:
            return accuracy(observer.manifest, estimate_of(swarm.home / "peers" / name, observer.manifest).vector, exam)
        except LearnaeError:  # it has not saved any yet
            return 0.0

    return reached


def _wait(condition: Callable[[], bool]) -> None:
    wait_until(condition, _TIMEOUT_SECONDS, "the swarm to learn", _LOOK_SECONDS)
