"""Many live peers that cost little: one real trainer with a page, and authors whose real messages it hears."""

from __future__ import annotations

import io
import threading
import time
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, Self

from bench.rigs.processes import rig, wait_until
from demo.people import write_private_file
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.dashboard.address import PageAddress
from learnae.ipld.cid import DAG_CBOR, RAW
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Metrics, Profile, Update
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message
from learnae.swarm.presets import preset
from learnae.weights.frames import FramePolicy, encode_frame

_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 120.0


class Crowd:
    """A swarm ``wrist`` below ``root`` of so many ``peers``: a trainer, and others that only sign. A context manager.

    While it is open, an author publishes every 50 ms, in turn: of a thousand each about once a minute. The first one,
    number 0, publishes only when it is told to.
    """

    def __init__(self, root: Path, peers: int) -> None:
        self.programs = rig("programs").Programs(root)
        manifest = preset("wrist", 0)
        self._directory = self.programs.add_swarm(manifest)
        self._store = LocalBlockStore(self._directory)
        self._authors = [rig("builders").Author(number, manifest.swarm) for number in range(peers - 1)]
        self._first: dict[int, Message] = {}
        self._gossips: dict[int, LocalGossip] = {}
        frame = encode_frame(manifest.definition.initial(manifest.seed), None, None, FramePolicy())
        self._frame, self._blocks = frame.header, tuple(self._store.put(RAW, block) for block in frame.blocks)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work)
        config = root / "trainer.toml"
        write_private_file(1, root / "rows.npz")
        config.write_text(
            f'[peer]\nname = "watched"\n[swarm]\nid = "{manifest.swarm}"\n[data]\nfile = "{root / "rows.npz"}"\n'
            '[dashboard]\nlisten = "127.0.0.1:0"\n'
        )
        self._state = self.programs.home / "peers" / "watched"
        self.process = self.programs.start(
            "trainer_node", "start", "--config", config,
            environment={"LEARNAE_TRAIN__SHARE": "0.02", "LEARNAE_PEER__STATE": str(self._state)}, pause=1.0,
        )  # fmt: skip

    def __enter__(self) -> Self:
        for number in range(len(self._authors)):
            self.speak(number, 1)
        self._thread.start()
        wait_until(lambda: self.address() is not None, _TIMEOUT_SECONDS, "the page")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with nullcontext() if kind else redirect_stdout(io.StringIO()):  # what the trainer has said
            self.programs.__exit__()
        self._store.close()

    def address(self) -> PageAddress | None:
        """Return where the trainer's page is, once it is there."""
        return PageAddress.read(self._state)

    def speak(self, number: int, steps: int) -> None:
        """Let an author publish an update that says that it has trained so many ``steps``."""
        with self._lock:
            author, is_first = self._authors[number], number not in self._first
            said = author.say(time=_now(), body=self._body(number, steps, is_first), blocks=self._blocks)
            self._store.put(DAG_CBOR, said.data)
            first = self._first.setdefault(number, said)
            if is_first:
                self._gossips[number] = LocalGossip(self._directory, peer_name(author.author))
            entry = Entry(author.author[:PREFIX_BYTES], said.seq, said.cid, first.cid)
            self._gossips[number].announce(Announcement((entry,)))

    def _body(self, number: int, steps: int, is_first: bool) -> dict[str, Any]:
        profile = Profile(f"board-{number}", "agent", "0.1.0") if is_first else None
        metrics = Metrics(loss=0.1 + number / 10_000, accuracy=1 - number / 2_000, rows=164)
        update = Update(self._frame, steps, 387, metrics, (), 1000 * steps, 9000 * steps, peer=profile)
        return update.to_fields()

    def _work(self) -> None:
        turn = 0
        while not self._stop.wait(_PAUSE_SECONDS):
            self.speak(1 + turn % (len(self._authors) - 1), 2 + turn)
            turn += 1


def _now() -> int:
    return time.time_ns() // 1_000_000
