"""The workstation role: heavy epochs on private data."""
