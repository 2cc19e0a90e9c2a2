"""``python -m trainer_node``: the same as ``trainer-node``."""

from trainer_node.start import main

main()
