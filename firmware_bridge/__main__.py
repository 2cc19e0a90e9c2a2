"""``python -m firmware_bridge``: the same as ``firmware-bridge``."""

from firmware_bridge.cli import main

main()
