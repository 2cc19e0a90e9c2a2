"""``trainer-node start --demo``: a swarm on the shipped recordings, one person a process."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources

from learnae.adapters.local.lock import holder
from learnae.config.sections import PeerSection, SwarmSection
from learnae.errors import ConfigurationError, InUseError
from learnae.models.dataset import Dataset
from learnae.samples.files.examples import add_recording
from learnae.samples.recordings import shipped_recording
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data, preset
from learnae.system.paths import LOCK_FILE, peer_directory
from trainer_node.config import TrainerConfig

PEOPLE = 8


def demo_configs(config: TrainerConfig) -> Iterator[tuple[TrainerConfig, int]]:
    """Yield the configurations of the people who are free, in order, with their numbers; then raise ConfigurationError.

    Another process may take a person first: try the next one then. A configuration that names one of these people
    is for that one alone: then it is an InUseError.
    """
    # no date: all demos on a machine are one swarm; a name of its own: it is not the one of --preset wrist
    directory = create_swarm(replace(preset("wrist", created=0), name="wrist-demo")).directory
    people = [person for person in range(1, PEOPLE + 1) if _name(person) == config.peer.name] or range(1, PEOPLE + 1)
    for person in people:
        if holder(peer_directory(_name(person)) / LOCK_FILE) is None:
            yield replace(config, peer=PeerSection(name=_name(person)), swarm=SwarmSection(str(directory))), person
    if len(people) == 1:
        raise InUseError(
            f"{config.peer.name} is running", f"stop it first: trainer-node stop --name {config.peer.name}"
        )
    raise ConfigurationError(f"all {PEOPLE} people of the demo are running", "stop one of them")


def check_demo(name: str | None, others: Mapping[str, object]) -> None:
    """Raise ConfigurationError unless ``name`` is one of the demo's, and none of the ``others`` flags is given."""
    if given := [flag for flag, value in others.items() if value is not None]:
        raise ConfigurationError(f"the demo takes no {' and no '.join(given)}", "its swarm and its data are its own")
    if name is not None and name not in map(_name, range(1, PEOPLE + 1)):
        raise ConfigurationError(f"nobody in the demo is {name!r}", f"use {_name(1)} to {_name(PEOPLE)}, or no --name")


def demo_dataset(person: int, config: TrainerConfig, manifest: Manifest) -> Dataset:
    """Return the rows of one person of the shipped recordings."""
    dataset = Dataset(manifest.model, manifest.objective)
    with resources.as_file(demo_data()) as path:
        add_recording(dataset, manifest, shipped_recording(path, person), config.data.holdout)
    return dataset


def _name(person: int) -> str:
    return f"demo-{person}"
