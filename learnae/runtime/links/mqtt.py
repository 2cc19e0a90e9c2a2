"""``[mqtt]``: monitor, gossip and exchange over one MQTT connection."""

from collections.abc import Callable

from learnae.adapters.local.clock import SystemClock
from learnae.adapters.mqtt.blocks.exchange import MqttExchange
from learnae.adapters.mqtt.blocks.intake import NAME
from learnae.adapters.mqtt.client import Will
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.gossip import MqttGossip
from learnae.adapters.mqtt.monitor.disclosure import Disclosure, Judgement
from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.adapters.mqtt.monitor.publisher import MqttMonitor, Seal, stay_silent
from learnae.adapters.mqtt.session import Session
from learnae.adapters.mqtt.topics import OFFLINE, Topics
from learnae.adapters.token_bucket import Spending
from learnae.config.privacy_section import LABEL
from learnae.config.sections import OFF, PLAIN, SEALED, MqttSection
from learnae.errors import ConfigurationError
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace
from learnae.swarm.features import RAW_KIND
from learnae.swarm.manifest import FORECAST, Manifest

QUEUE_FILE = "mqtt-queue.sqlite"

_NEWS_SECONDS = 0.5  # between two announcements, where they are all that tells others of a message
_BURST_SECONDS = 32  # of answers at once
_HEALING_SECONDS = 10.0  # where messages are pushed, and announcements only heal what was lost


def judgement_of(manifest: Manifest) -> Judgement:
    """Return what a score of the swarm's model is."""
    if manifest.is_autoencoder:
        return Judgement.ANOMALY
    if manifest.task == FORECAST:
        return Judgement.FORECAST
    if manifest.is_own_loop:
        return Judgement.VALUE
    return Judgement.CLASS if manifest.objective.is_classification else Judgement.VALUE


def monitor_mode(section: MqttSection, is_sealed: bool) -> str:
    """Return how a peer is shown on the broker: PLAIN, SEALED or OFF. Raises ConfigurationError."""
    mode = section.monitor or (SEALED if is_sealed else PLAIN)
    if mode == SEALED and not is_sealed:
        raise ConfigurationError(
            f"mqtt.monitor is {SEALED}, and the swarm is open: it has no secret", f'use "{PLAIN}" or "{OFF}"'
        )
    section.check_readable(mode)
    return mode


def disclosure_of(manifest: Manifest, shown: str) -> Disclosure:
    """Return what is shown of the model's judgement where the owner wants it ``shown`` (``[privacy] inference``)."""
    is_raw = manifest.features is not None and manifest.features.kind == RAW_KIND
    return Disclosure(judgement_of(manifest), shown, is_raw)


def connect_mqtt(
    section: MqttSection,
    workspace: Workspace,
    holds: bool = False,
    shown: str = LABEL,
    purse: Callable[[int], bool] | None = None,
) -> LinkSet:
    """Link to the broker of ``[mqtt]``; raises ConfigurationError or StateError.

    ``holds``: this machine has other ways to provide blocks, so it also keeps frames that it does not follow. What the
    model says of windows is ``shown`` as the owner has it. What goes out as answers is spent from the ``purse``.
    """
    manifest = workspace.swarm.manifest
    topics = Topics(section.prefix, workspace.meeting, workspace.name)
    mode = monitor_mode(section, manifest.is_sealed)
    will = None if mode == OFF else Will(topics.own("status"), OFFLINE)
    connection = MqttConnection(section, section.client_id or workspace.name, will)
    Session(connection, topics)
    links = LinkSet(states={"mqtt": connection.state})
    if mode == OFF:
        stay_silent(connection, topics, workspace.directory)
    else:
        queue = Outbox(workspace.directory / QUEUE_FILE, section.queue_rows, section.queue_bytes)
        monitor = MqttMonitor(
            connection,
            topics,
            queue,
            workspace.directory,
            section.home_assistant,
            section.home_assistant_prefix,
            disclosure_of(manifest, shown),
            seal=_seal(workspace) if mode == SEALED else None,
        )
        links += LinkSet(monitors=(monitor,), states={"mqtt monitor": monitor.state})
    gossip, frontier = None, Frontier()
    if section.gossip:
        interval = _HEALING_SECONDS if section.exchange else _NEWS_SECONDS
        gossip = MqttGossip(connection, topics, interval, workspace.errors, frontier)
        links += LinkSet(gossips={"mqtt": gossip}, closers=(gossip.close,))
    if section.exchange:
        heard = gossip.note if gossip else lambda _: None
        rate = section.bytes_per_second
        spend = Spending(rate * _BURST_SECONDS, rate, purse=purse)
        exchange = MqttExchange(
            connection,
            topics,
            manifest.swarm,
            workspace.store,
            manifest.limits,
            holds,
            workspace.opener,
            heard,
            frontier,
            spend,
        )
        links += LinkSet({NAME: exchange}, states={"mqtt exchange": exchange.state}, meters=(spend.taken,))
    if manifest.membership is not None:
        from learnae.adapters.mqtt.invites.invite_desk import MqttInviteDesk  # noqa: PLC0415 - not in open swarms

        links += LinkSet(desks=(MqttInviteDesk(connection, section.prefix, workspace.errors),))
    connection.start()
    return links + LinkSet(closers=(connection.close,))


def _seal(workspace: Workspace) -> Seal:
    """Return what seals the payloads of this peer's monitor."""
    from learnae.adapters.mqtt.monitor.sealed_payloads import seal_payload  # noqa: PLC0415 - not in open swarms

    secrets, author, clock = workspace.secrets, workspace.identity.author, SystemClock()

    def seal(channel: str, payload: bytes) -> bytes | None:
        epoch = secrets.last if secrets else None  # threads of the connection must not look into the ledger
        return seal_payload(epoch, author, clock.now(), channel, payload) if epoch else None

    return seal
