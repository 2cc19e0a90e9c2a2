"""``python -m learnae``: the same as ``learnae``."""

from learnae.cli import main

main()
