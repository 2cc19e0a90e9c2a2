"""The commands of ``learnae``, one file each."""
