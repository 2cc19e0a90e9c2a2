"""Writes the wrists of three people to one.npz, two.npz and three.npz: data for a first swarm on three machines."""

from importlib import resources

import numpy as np

from learnae.samples.recordings import shipped_recording
from learnae.swarm.presets import demo_data


def main() -> None:
    """Write a recording for each of three machines, and say what is in it."""
    with resources.as_file(demo_data()) as path:
        for person, name in enumerate(("one", "two", "three"), 1):
            own = shipped_recording(path, person)
            np.savez(f"{name}.npz", time=own.time, signal=own.values, label=own.label)
            print(f"{name}.npz: {len(own.time):,} samples of one person")


if __name__ == "__main__":
    main()
