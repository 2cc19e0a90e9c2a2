"""A swarm in the simulator: eight peers on a bad network that is cut in two for a while; all follows from one seed."""

import numpy as np

from learnae.models.dataset import Dataset
from learnae.simulation.network import Weather
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

PEERS = 8


def _private_data(manifest: Manifest, peer: int) -> Dataset:
    """Draw points; whether one is within the circle is what all learn, each peer from its own side of the plane."""
    rng = np.random.default_rng(peer)
    angle, radius = rng.uniform(peer - 1, peer + 1, 200) * 2 * np.pi / PEERS, rng.uniform(0, 2, 200)
    rows = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows[:150], (radius < 1)[:150].astype(np.int64))
    data.add(rows[150:], (radius < 1)[150:].astype(np.int64), holdout=True)
    return data


def main() -> None:
    """Train through a partition, heal it, and print what each peer reached."""
    config = dense_config(2, (16,), 2, "softmax")
    manifest = Manifest("circle", config, "sparse_categorical_crossentropy", training=TrainingPolicy(steps=20))
    datasets = [_private_data(manifest, peer) for peer in range(PEERS)]
    swarm = Simulation(manifest, datasets, Setting(seed=1, weather=Weather(delay=(10, 400), loss=0.2)))
    swarm.partition([range(4), range(4, PEERS)])
    swarm.run(20_000)
    apart = {len(messages) for messages in swarm.message_sets()}
    swarm.heal()
    swarm.run(20_000)
    swarm.settle(10_000)
    print("messages known: apart", sorted(apart), "and together", {len(known) for known in swarm.message_sets()})
    for member in swarm.members:
        status = member.peer.status()
        print(f"{status['name']}: accuracy {status['accuracy']:.2f}, {status['steps']} steps, {status['peers']} peers")


if __name__ == "__main__":
    main()
