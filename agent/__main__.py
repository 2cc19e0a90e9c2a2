"""``python -m agent``: the same as ``learnae-agent``."""

from agent.cli import main

main()
