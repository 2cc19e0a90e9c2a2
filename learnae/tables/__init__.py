"""Tables of people: CSV, JSON lines, Parquet, Arrow and NumPy files; ``opening.open_table`` is the entry point."""
