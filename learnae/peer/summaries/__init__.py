"""What a peer tells of its rows in summaries, and what it learns from those of others."""
