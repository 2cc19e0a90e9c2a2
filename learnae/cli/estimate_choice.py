"""Which model of a swarm a command is about."""

from learnae.cli.peer_choice import choose_peer
from learnae.runtime.homes import existing_peer
from learnae.runtime.observer import Estimate, estimate_of, kept_estimate, published_estimate
from learnae.swarm.directory import Swarm


def choose_estimate(swarm: Swarm, peer: str | None, version: str | None) -> tuple[Estimate, str]:
    """Return a ``version`` that a ``peer`` keeps, or else that peer's estimate, or else the swarm's; and which it is.

    Raises ConfigurationError for what is not there.
    """
    if version:
        directory = choose_peer(peer)
        return kept_estimate(directory, swarm.manifest, version), f"version {version} of {directory.name}"
    if peer:
        return estimate_of(existing_peer(peer), swarm.manifest), f"the swarm's, as {peer} has it"
    return published_estimate(swarm.directory), "the swarm's"
