"""Data files of any size into memory-mapped rows; ``loading.load_dataset`` is the door."""
