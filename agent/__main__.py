"""``python -m agent``: the same as ``learnae-agent``."""

from agent.start import main

main()
