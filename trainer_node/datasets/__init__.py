"""Data files of any size as memory-mapped rows; ``loading.load_dataset`` is the entry point."""
