"""A swarm's definition: manifest, features, presets, initial weights, model card, and its directory on this machine."""
