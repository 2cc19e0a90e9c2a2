"""``learnae blocks``: what is stored here and at the Kubo daemon; check, pin, clean up."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.adapters.local.block_database import FILE, is_sound
from learnae.adapters.local.block_salvage import DAMAGED_SUFFIX, rebuild
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.cli.output import console, fitting, human_bytes, print_fields, print_json, shedding, short_cid, table
from learnae.cli.progress import progress
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.config.loading import find_section
from learnae.config.sections import IpfsSection
from learnae.errors import BlockMissingError, ConfigurationError, LearnaeError, PeerError, StateError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.state import PeerState
from learnae.ports import Exchange
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message, open_message
from learnae.runtime.observer import Observer
from learnae.swarm.directory import open_swarm
from learnae.system.paths import ARCHIVE_FILE, STATE_FILE, peers_here
from learnae.text import counted

if TYPE_CHECKING:
    from learnae.adapters.ipfs.exchange import KuboExchange

_SETTLED = 3_600_000  # ms: a younger block, or one asked for since, may belong to a message on its way
UNUSED = "not needed"
_KINDS = {  # by the first word of what a block is: one of them, and many
    "message": ("message", "messages"),
    "record": ("record of who is in", "records of who is in"),
    "weights": ("of weights", "of weights"),
    "manifest": ("manifest", "manifests"),
    "starting": ("of starting weights", "of starting weights"),
    "last": ("last message", "last messages"),
    "replaced": ("replaced by a checkpoint", "replaced by checkpoints"),
    "proof": ("proof of a fork", "proofs of forks"),
    "not": ("not needed", "not needed"),
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block of this machine: ``what`` it is, and whether the daemon has it pinned (None: there is no daemon)."""

    cid: str
    bytes: int
    what: str
    pinned: bool | None


def blocks(options: argparse.Namespace) -> int:
    """Count or list all blocks, check, pin or delete them; exit status 1 if some are damaged."""
    directory = choose_swarm(options.swarm).directory
    if options.fsck:
        found = fsck(directory)
        return _show(options, found, is_bad=bool(found["damaged"] or "database" in found))
    if options.pin:
        with progress("pinning blocks"):
            pinned = pin(directory)
        return _show(options, pinned)
    if options.gc:
        with progress("deleting what is not needed"):
            deleted = collect_garbage(directory)
        return _show(options, deleted)
    with progress("looking at blocks"):
        listed = list(list_blocks(directory))
    if options.json:
        print_json([asdict(block) for block in listed] if options.list else totals(listed))
    elif options.list:
        _print_table(listed)
    else:
        fields = totals(listed)
        kinds = fields.pop("kinds")
        print_fields({**fields, "bytes": human_bytes(fields["bytes"]), **kinds})
    return 0


def totals(found: Sequence[Block]) -> dict[str, Any]:
    """Return how many blocks there are, their bytes and kinds, and how many are pinned, if there is a daemon."""
    kinds = Counter(_KINDS[block.what.partition(" ")[0]][1] for block in found)
    pins = {} if not found or any(block.pinned is None for block in found) else {"pinned": sum(map(_is_pinned, found))}
    return {
        "blocks": len(found),
        "bytes": sum(block.bytes for block in found),
        **pins,
        "kinds": dict(kinds.most_common()),
    }


def _is_pinned(block: Block) -> bool:
    return block.pinned is True


def list_blocks(directory: Path) -> Iterator[Block]:
    """Yield each block of this machine, those not needed first, then the others, oldest first."""
    store, observer = LocalBlockStore(directory, read_only=True), observe(directory)
    sizes, needed = store.sizes(), describe_blocks(observer)
    known = {**_replaced(store, observer, needed), **needed}
    exchange = _exchange(directory, needed=False)
    pins = exchange.pins() if exchange else None
    order = {cid: number for number, cid in enumerate(known)}
    for cid in sorted(sizes, key=lambda cid: order.get(cid, -1)):
        yield Block(str(cid), sizes[cid], known.get(cid, UNUSED), None if pins is None else cid in pins)


def fsck(directory: Path) -> dict[str, int | str | list[str]]:
    """Compare all blocks with their names; remove damaged ones, so that peers fetch them again.

    A database that SQLite cannot read any more is replaced by one of the blocks that are left. Raises InUseError if a
    peer has it open.
    """
    path = directory / FILE
    if path.exists() and not is_sound(path):
        salvaged = rebuild(path)
        replaced = f"replaced by a new one; the damaged one is {path}{DAMAGED_SUFFIX}"
        return {"checked": salvaged.kept, "damaged": list(map(str, salvaged.lost)), "database": replaced}
    checked, damaged = 0, list[str]()
    with closing(LocalBlockStore(directory)) as store, progress("checking blocks") as done:
        for number, cid in enumerate(cids := list(store.cids()), 1):
            done(number / len(cids))
            checked += 1
            try:
                store.get(cid)
            except BlockMissingError:  # a peer has deleted it meanwhile
                checked -= 1
            except PeerError:
                damaged.append(str(cid))
    return {"checked": checked, "damaged": damaged}


def pin(directory: Path) -> dict[str, int]:
    """Pin every block of this machine at the daemon; unpin those that are deleted here."""
    store, exchange = LocalBlockStore(directory, read_only=True), _exchange(directory)
    assert exchange is not None
    return {"pinned now": _pin_all(store, exchange), "pinned in all": len(store.sizes())}


def _pin_all(store: LocalBlockStore, exchange: Exchange) -> int:
    """Pin what is not pinned yet; return how many that were."""
    pinned = 0
    for cid in exchange.lacking(store.cids):
        with suppress(BlockMissingError, PeerError):  # a peer has deleted it meanwhile, or --fsck will report it
            exchange.offer(cid, store.get(cid))
            pinned += 1
    return pinned


def collect_garbage(directory: Path) -> dict[str, int]:
    """Delete blocks that no live message and no peer of this machine needs, and pin the others at the daemon.

    Raises StateError, with nothing deleted, while messages here cannot be read in full: what they need is unknown; and
    ConfigurationError for an archive.
    """
    if (directory / ARCHIVE_FILE).exists():
        raise ConfigurationError(
            f"{directory} is an archive: it keeps everything", f"remove {directory / ARCHIVE_FILE} to let it forget"
        )
    observer = observe(directory)
    observer.name(_last_words(observer))
    if not observer.sees_all:
        raise StateError(
            "the peers here know more others than they announce at a time: what those need is not known, nothing was "
            "deleted",
            "let a peer of the swarm run: it deletes what is not needed by itself, every ten minutes",
        )
    if unseen := observer.unseen():
        raise StateError(
            f"{counted(unseen, 'message')} here wait for older ones, or for a secret: what they need is not known, "
            "nothing was deleted",
            "let the swarm's peers run until they have fetched them, then try again",
        )
    store, known = LocalBlockStore(directory), describe_blocks(observer)
    freed = store.remove((cid for cid in store.cids() if cid not in known), SystemClock().now() - _SETTLED)
    exchange = _exchange(directory, needed=False)
    if exchange:
        _pin_all(store, exchange)
    return {"deleted": len(freed), "bytes freed": sum(freed.values())}


def describe_blocks(observer: Observer) -> dict[Cid, str]:
    """Return what each needed block is, oldest first."""
    tangle, names = observer.tangle, {view.peer: view.shown for view in observer.peers()}
    last = dict.fromkeys(_last_messages(observer.swarm), "last message of a peer of this machine")
    known = {observer.swarm: "manifest", **dict.fromkeys(observer.manifest.start, "starting weights"), **last}
    for cid in tangle.cids():
        node = tangle.node(cid)
        if node is not None:
            author = names.get(peer_name(node.author), "?")
            known.update(dict.fromkeys(node.blocks, f"weights of {author}, {node.seq}"))
            known[cid] = f"message {node.seq} of {author}"
    records = dict.fromkeys(
        observer.gate.ledger.cids() if observer.gate.ledger is not None else (), "record of who is in"
    )
    return {**records, **dict.fromkeys(tangle.needed(), "proof of a fork, or a message that waits for it"), **known}


def _replaced(store: LocalBlockStore, observer: Observer, needed: Mapping[Cid, str]) -> dict[Cid, str]:
    """Return what those blocks are that live peers are about to delete, as their author has published a checkpoint."""
    names, found = {view.peer: view.shown for view in observer.peers()}, dict[Cid, str]()
    for cid in [cid for cid in store.cids() if cid.codec == DAG_CBOR and cid not in needed]:
        with suppress(BlockMissingError, PeerError):  # deleted since, or no message
            message = open_message(store.get(cid), observer.swarm, observer.manifest.limits)
            what = f"replaced since: {message.seq} of {names.get(peer_name(message.author), '?')}"
            found.update(dict.fromkeys((cid, *message.blocks), what))
    return found


def _last_words(observer: Observer) -> Iterator[Message]:
    """Yield the last message of every peer of this machine, as far as it can be read."""
    for state in _states(observer.swarm):
        with suppress(PeerError):
            yield open_message(state.message, observer.swarm, observer.manifest.limits)


def _last_messages(swarm: Cid) -> Iterator[Cid]:
    """Yield the last message and update of every peer of this machine: it continues from them, however old they are."""
    for state in _states(swarm):
        yield Cid.of(DAG_CBOR, state.message)
        if state.update is not None:
            yield state.update


def _states(swarm: Cid) -> Iterator[PeerState]:
    for directory in peers_here():
        try:
            state = PeerState.read(directory / STATE_FILE)
        except PermissionError as error:  # the peer may be running, as another user
            remedy = "run it as the user it belongs to"
            raise StateError(f"cannot read {directory}: {error.strerror}", remedy) from error
        except (OSError, LearnaeError):  # a peer that cannot start has no future to keep anything for
            continue
        if state.swarm == swarm:
            yield state


def _exchange(directory: Path, needed: bool = True) -> KuboExchange | None:
    section = find_section(IpfsSection, "ipfs")
    if not section.api:
        if needed:
            raise ConfigurationError("no Kubo daemon is configured", "set ipfs.api; see docs/ipfs.md")
        return None
    from learnae.runtime.links.kubo import open_exchange  # noqa: PLC0415 - an extra, and a heavy one

    return open_exchange(section, open_swarm(directory))


def _show(options: argparse.Namespace, fields: Mapping[str, int | str | list[str]], is_bad: bool = False) -> int:
    if options.json:
        print_json(fields)
    else:
        print_fields(
            {name: " ".join(value) or 0 if isinstance(value, list) else value for name, value in fields.items()}
        )
    return int(is_bad)


def _print_table(found: list[Block]) -> None:
    totals = Counter(block.what.partition(" ")[0] for block in found)
    title = f"{counted(len(found), 'block')}, {human_bytes(sum(block.bytes for block in found))}"
    title += "".join(f", {counted(count, *_KINDS[name])}" for name, count in totals.most_common())
    pinned = {None: "-", True: "yes", False: "no"}
    rows = [[block.cid, human_bytes(block.bytes), block.what, pinned[block.pinned]] for block in found]
    columns = ["cid", ">size", "what", "pinned"]
    short = [[short_cid(row[0]), *row[1:]] for row in rows]
    console.print(fitting([table(title, columns, rows), *shedding(title, columns, short, ["pinned", "size"])]))
