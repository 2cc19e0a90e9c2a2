"""The machine below: files, paths, signals, systemd, logging, secrets. Knows nothing of swarms."""
