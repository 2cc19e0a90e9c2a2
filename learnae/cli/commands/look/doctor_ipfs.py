"""``learnae doctor`` on IPFS: the configured daemon and gateways, and the remedy for what is wrong there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.cli.output import BROKEN, MISSING, OK, Finding
from learnae.cli.swarm_choice import choose_swarm
from learnae.config.loading import find_section
from learnae.config.sections import IpfsSection
from learnae.errors import LearnaeError, TransportError
from learnae.system.installation import how_to_install
from learnae.text import counted, host_of

if TYPE_CHECKING:
    from learnae.adapters.ipfs.exchange import KuboExchange
    from learnae.adapters.ipfs.rpc import KuboRpc

Found = tuple[str, str, str]  # state, detail, remedy
_TIMEOUT_SECONDS = 5.0  # a person waits for each answer


def ipfs_findings() -> Iterator[Finding]:
    """Check the configured daemon and gateways; yield nothing where none is configured."""
    try:
        section = find_section(IpfsSection, "ipfs")
    except LearnaeError as error:
        yield Finding("IPFS", BROKEN, error.problem, error.remedy)
        return
    if section.api:
        yield from _daemon(section)
    for url in section.gateway_urls:
        yield _tried(f"gateway {host_of(url)}", lambda url=url: _gateway(url, section))  # type: ignore[misc]


def _daemon(section: IpfsSection) -> Iterator[Finding]:
    try:
        from learnae.adapters.ipfs.rpc import KuboRpc  # noqa: PLC0415
        from learnae.runtime.links.kubo import open_exchange  # noqa: PLC0415 - an extra, and a heavy one
    except ImportError as error:
        yield Finding("Kubo", BROKEN, f"{error.name} is not installed", how_to_install("ipfs"))
        return
    try:
        rpc = KuboRpc.from_section(section)
        version = rpc.version(_TIMEOUT_SECONDS)
    except LearnaeError as error:
        yield Finding("Kubo", BROKEN, error.problem, error.remedy)
        return
    yield Finding("Kubo", OK, f"{version} at {section.api}", "")
    yield _tried("Kubo peers", lambda: _peers(rpc, section))
    yield _tried("Kubo network", lambda: _network(rpc))
    if section.pubsub:
        yield _tried("Kubo pubsub", lambda: _pubsub(rpc))
    yield _tried("Kubo pins", lambda: _pins(open_exchange(section, choose_swarm()), choose_swarm().directory))


def _answer(rpc: KuboRpc, command: str, **options: str) -> dict[str, Any]:
    answer = rpc.ask(command, seconds=_TIMEOUT_SECONDS, options=options)
    if not isinstance(answer, dict):
        raise TransportError(f"what answers at {rpc.api} is no Kubo", "check ipfs.api")
    return answer


def _listed(rpc: KuboRpc, command: str, name: str) -> list[Any]:
    found = _answer(rpc, command).get(name)
    return found if isinstance(found, list) else []  # Kubo says null for none


def _peers(rpc: KuboRpc, section: IpfsSection) -> Found:
    peers = _listed(rpc, "swarm/peers", "Peers")
    connected = {str(peer.get("Peer")) for peer in peers if isinstance(peer, dict)}
    absent = [address for address in section.addresses if address.rpartition("/")[2] not in connected]
    detail = f"{len(connected)} connected"
    if absent:
        return MISSING, f"{detail}; not {' '.join(absent)}", "start that daemon, or mend ipfs.connect"
    return OK if connected else MISSING, detail, "name another workstation's daemon in ipfs.connect"


def _network(rpc: KuboRpc) -> Found:
    """Look for a private network's key in the daemon's repository: Kubo names that directory, and not the network."""
    repository = Path(str(_answer(rpc, "repo/stat").get("RepoPath")))
    try:
        private = (repository / "swarm.key").exists()
        known = (repository / "config").exists()
    except OSError:  # the repository of another user
        private = known = False
    if private:
        return OK, "private: swarm.key is in its repository", ""
    if known:
        remedy = "anybody who learns a block's name can read it; see docs/ipfs.md for a private swarm"
        return MISSING, "public: there is no swarm.key in its repository", remedy
    return OK, "cannot be told from here: its repository is out of sight", ""


def _pubsub(rpc: KuboRpc) -> Found:
    from learnae.adapters.ipfs.pubsub import HOW_TO_TURN_ON, is_off  # noqa: PLC0415 - as above

    without = "to do without it: ipfs.pubsub = false"
    try:
        topics = _listed(rpc, "pubsub/ls", "Strings")
    except TransportError as error:
        if is_off(error):
            return MISSING, "off", f"{HOW_TO_TURN_ON}; {without}"
        return BROKEN, error.problem, "; ".join(filter(None, [error.remedy, without]))
    ours = sum(str(topic).startswith("learnae/") for topic in topics)
    return OK, f"on, {counted(ours, 'topic')} of Learnae subscribed", ""


def _pins(exchange: KuboExchange, directory: Path) -> Found:
    pins = Counter(exchange.pins().values())
    held = len(LocalBlockStore(directory, read_only=True).sizes())
    detail = f"{pins[exchange.label]} of the {counted(held, 'block that is', 'blocks that are')} here"
    return OK if pins[exchange.label] >= held else MISSING, detail, "start a peer, or: learnae blocks --pin"


def _gateway(url: str, section: IpfsSection) -> Found:
    gateway = GatewayExchange(url, _TIMEOUT_SECONDS, section.ca_file)
    try:
        gateway.lacking(list)
    finally:
        gateway.close()
    return OK, "answers", ""


def _tried(thing: str, look: Callable[[], Found]) -> Finding:
    try:
        return Finding(thing, *look())
    except TransportError as error:
        return Finding(thing, BROKEN, error.problem, error.remedy)
    except LearnaeError as error:
        return Finding(thing, MISSING, error.problem, error.remedy)
