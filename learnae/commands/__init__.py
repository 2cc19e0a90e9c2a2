"""The verbs of ``learnae``, a file for each group."""
