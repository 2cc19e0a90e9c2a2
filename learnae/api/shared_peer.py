"""A peer whose owner has the training loop: it takes weights in, publishes them, and gives back what was merged."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from learnae.api.shared_learner import MOST_SAMPLES, CallersLoss, Offer, SharedLearner, check_whole, metrics_of
from learnae.api.structure import Rebuild, Structure
from learnae.basics.overriding import override
from learnae.basics.peer_names import told_apart
from learnae.errors import ConfigurationError, EquivocationError, LearnaeError, NotWrittenError, StateError
from learnae.membership.gate import MEMBER
from learnae.peer.peer import Peer, Tick
from learnae.protocol.identity import peer_name
from learnae.reports.contributions import contributions_of, plain
from learnae.runtime.linked_peer import LinkedPeer
from learnae.runtime.peer_service import PeerService, Schedule
from learnae.runtime.version_store import read_version, version_names
from learnae.system.signals import held_back

_IDLE_SECONDS = 1.0  # between two ticks while the loop trains
_TURN_SECONDS = 0.05  # between two looks while a call waits


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that this peer keeps: ``time`` in Unix seconds, what its estimate reached on held-out rows."""

    name: str
    time: float
    steps: int
    loss: float | None
    accuracy: float | None


class _IdleSchedule(Schedule):
    """Keeps the peer a good member while the loop trains; merges nothing, and asks nothing that the caller gave."""

    def __init__(self, peer: Peer, may_end_cycle: bool) -> None:
        super().__init__(peer, _IDLE_SECONDS)
        self._may_end_cycle = may_end_cycle

    @override
    def tick(self) -> Tick | None:
        if self.peer.catching_up.is_new or (self.peer.training.taken and not self._may_end_cycle):
            self.peer.listen()  # what is next would call the caller's function in another thread than theirs
            return None
        return self.peer.tick()


class _Runner:
    """Runs a peer in a thread of its own, until it leaves. ``lock`` is held by who uses the peer."""

    def __init__(self, linked: LinkedPeer, schedule: Schedule) -> None:
        self.linked = linked
        self.lock = threading.RLock()
        self.failure: BaseException | None = None
        self.has_left = False
        self.is_broken = False  # something ended in the midst of its work: what is on the disk counts
        self.process = os.getpid()
        self._work = PeerService(linked, schedule).work()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="learnae", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        pause = _IDLE_SECONDS
        while not self._stop.wait(pause):
            with self.lock:
                if self.has_left:
                    return
                try:
                    pause = self._work.step()
                except Exception as error:  # noqa: BLE001 - raised where the caller is
                    self.failure = error
                    self.has_left = isinstance(error, EquivocationError)  # the service has left with it
                    return

    def leave(self) -> None:
        """Save the peer and let go of all that it holds. Idempotent; nothing in a process that was forked off."""
        if os.getpid() != self.process:  # such as one that loads data: the peer is its parent's
            return
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        with self.lock:
            if self.has_left:
                return
            self.has_left = True
            if self.is_broken:
                self.linked.let_go()
            else:
                self.linked.leave()


class SharedPeer:
    """A member of a swarm that its owner's own program trains; ``learnae.join`` makes it.

    It runs in a thread of this process until it is closed, or the ``with`` block ends: it hears, answers and passes on
    while the program trains. Weights are merged, and functions that were given to ``join`` called, within the calls
    below alone. Any thread may make them, one after another. Ctrl-C waits until the peer's part of a call is done.
    """

    def __init__(
        self,
        linked: LinkedPeer,
        learner: SharedLearner,
        note_samples: Callable[[int], None],
        rows: int = 0,
        loss: CallersLoss | None = None,
        like: Any = None,
    ) -> None:
        self._linked = linked
        self._peer = linked.peer
        self._learner = learner
        self._note_samples = note_samples
        self._rows = rows
        self._loss = loss
        self._structure = Structure(linked.peer.manifest.model)
        self._alike(self._structure.natural if like is None else self._structure.read(like)[1])
        self._runner = _Runner(linked, _IdleSchedule(linked.peer, may_end_cycle=loss is None))
        self._close = weakref.finalize(self, self._runner.leave)  # also where a program ends without closing it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Save the peer, show its last status, and let another process have its name. Idempotent."""
        self._close()

    def share(
        self,
        weights: Any,
        samples: int | None = None,
        metrics: Mapping[str, object] | None = None,
        *,
        steps: int = 1,
        wait: bool = True,
    ) -> Any:
        """Publish ``weights``, merge those of the others, and return what to go on from, alike in shape and type.

        ``weights`` is a vector, a list of arrays in the model's order, or a dict of arrays by name, such as a
        ``state_dict``. ``samples`` says how many rows they were trained on since the last call: it counts in merges,
        and for the owner's floors; without it, all of ``data``. ``steps`` are the optimiser steps since then.
        ``metrics`` are what held-out rows gave: ``loss``, ``accuracy``, ``mae``, ``r2``, ``rows``; members see them.

        An update comes once every ``publish.every`` seconds at most, 0.75 where all peers are on this machine and 2
        over a network. ``wait`` does so until it is due; without it, what comes too early is returned as it is, and
        is part of the next update. What a floor holds back is merged all the same (``status()["held_back"]``).

        Raises ModelError for weights that do not fit the model, DataError for other figures that cannot be,
        EquivocationError if this peer's key is in use elsewhere.
        """
        vector, rebuild = self._structure.read(weights)
        samples = self._counted(samples)
        steps = check_whole("steps", steps)
        if metrics is not None and self._learner.measures:
            raise ConfigurationError("metrics of a peer that measures by itself", "leave them out, or loss and data")
        told = metrics_of(metrics) if metrics is not None else None
        with self._call():
            self._alike(rebuild)
            self._learner.told = told
            if self._learner.was_replaced:  # what the loop trained on was taken back meanwhile
                return self._turn()
            self._hand_over(Offer(vector, samples, steps))
        if wait:
            self._await_end()
        with self._call():
            return self._turn()

    def weights(self, like: Any = None) -> Any:
        """Return what to train on: the swarm's start, or what was merged since; new weights of others are merged first.

        In the structure of ``like``, else of what was shared last; before that, as a list of arrays in the order of
        Keras' ``get_weights()``. Weights that were trained and not shared are not in it. Raises as ``share`` does.
        """
        with self._call():
            if like is not None:
                self._alike(self._structure.read(like)[1])
            return self._turn()

    def estimate(self, like: Any = None) -> Any:
        """Return what all agree on: the consensus estimate, which is used and exported. Structures as in ``weights``.

        It changes nothing of what is trained on.
        """
        with self._call():
            rebuild = self._rebuild if like is None else self._structure.read(like)[1]
            peer = self._peer
            if not peer.catching_up.is_new:
                peer.hear()
                peer.merging.believe(peer.frames.own_vote, peer.ports.clock.now())
            return rebuild(peer.estimate())

    def versions(self) -> list[Kept]:
        """Return the versions that this peer keeps: the best, then the last ones, newest first."""
        directory = self._linked.workspace.directory
        found = []
        for name in version_names(directory):
            version = read_version(directory, name)
            metrics = version.metrics
            loss, accuracy = (metrics.loss, metrics.accuracy) if metrics else (None, None)
            found.append(Kept(name, version.time / 1000, version.steps, loss, accuracy))
        return found

    def contributions(self) -> list[dict[str, Any]]:
        """Return how useful each peer's weights are to the others, as ``learnae contributions --json`` has it.

        Empty where that cannot be told (why_unrated).
        """
        with self._call():
            peer = self._peer
            if peer.rating is None:
                return []
            names = {author: profile.name for author, profile in peer.view.names.items()}
            shown = told_apart({peer_name(author): names.get(author, "") for author in peer.following.news})
            return plain(contributions_of(peer.rating.book, {a: shown[peer_name(a)] for a in peer.following.news}))

    def status(self) -> dict[str, Any]:
        """Return the peer's status, as ``learnae watch`` and monitors read it."""
        with self._call():
            return self._peer.status()

    # -- the calls of a loop

    def _alike(self, rebuild: Rebuild) -> None:
        """Give weights back in this structure from now on, to the caller's function, too."""
        self._rebuild = rebuild
        if self._loss is not None:
            self._loss.rebuild = rebuild

    def _counted(self, samples: int | None) -> int:
        if samples is None:
            samples = self._rows or None
        counted = check_whole("samples", samples, MOST_SAMPLES)
        if self._rows and counted > self._rows:
            raise ConfigurationError(
                f"samples is {counted}, and data has {self._rows} training rows", "say how many of them were trained on"
            )
        return counted

    def _hand_over(self, offer: Offer) -> None:
        """Let the peer take weights, and end its cycle if that is due; a newcomer's wait for what others know."""
        if self._peer.catching_up.is_new:
            self._tick()
            return
        self._note_samples(offer.samples)
        self._learner.offer(offer)
        self._learner.is_free = False
        self._tick()
        self._learner.withdraw()

    def _await_end(self) -> None:
        """Wait until the cycle that is open has ended, unless more rows have to be drawn first."""
        peer = self._peer
        while True:
            with self._call():
                if not peer.training.taken or peer.options.floors.wants_more:
                    return
                self._tick()
                left = peer.cadence.wait(peer.ports.clock.uptime()) / 1000
            time.sleep(max(_TURN_SECONDS, min(left, _IDLE_SECONDS)))

    def _turn(self) -> Any:
        """Merge what is new, and return the weights in the caller's structure."""
        self._learner.is_free = True
        try:
            self._tick()
        finally:
            self._learner.is_free = False
        self._learner.was_replaced = False
        return self._rebuild(self._learner.weights())

    def _tick(self) -> None:
        try:
            done = self._peer.tick()
        except NotWrittenError as error:  # the disk is full: it trains on, and the next update tries again
            self._peer.endure(error)
            return
        if done.published:
            self._linked.versions.offer()

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Use the peer, and let Ctrl-C wait; raises what its thread, or the caller's own function, ended with."""
        if os.getpid() != self._runner.process:  # its lock may be held for ever
            raise StateError("this peer is of the process that has made it", "call it there")
        with held_back(), self._runner.lock:
            if self._runner.failure is not None:
                raise self._runner.failure
            if self._runner.is_broken:
                raise StateError("this peer was interrupted in its work", "close it, and join again")
            if self._runner.has_left:
                raise StateError("this peer is closed", "call learnae.join again")
            self._learner.is_called = True
            try:
                yield
            except LearnaeError:
                raise
            except BaseException:  # a second Ctrl-C, or a defect: it may have said what is not saved
                self._runner.is_broken = True
                raise
            finally:
                self._learner.is_called = False
            failure, self._learner.failure = self._learner.failure, None
            if failure is not None:
                raise failure

    def begin(self, wait: float) -> None:
        """Wait at most so many seconds until this peer is a member and knows what the others do; then run.

        Raises StateError where it is no member by then, or the swarm's starting weights are not here.
        """
        deadline, peer = time.monotonic() + wait, self._peer
        while True:
            with self._call():
                self._linked.serve()
                self._tick()
                if peer.own.last is not None and peer.catching_up.since is None:
                    break
            if time.monotonic() >= deadline:
                self._check_begun()
                break
            time.sleep(_TURN_SECONDS)
        self._learner.is_free = self._learner.was_replaced = False
        self._runner.start()

    def _check_begun(self) -> None:
        peer = self._peer
        if peer.steward and peer.steward.standing != MEMBER:
            raise StateError(f"this peer is no member yet: {peer.steward.standing}", "ask a member, then join again")
        if not peer.has_start:
            raise StateError("the swarm's starting weights are not here yet", "check the links, then join again")
