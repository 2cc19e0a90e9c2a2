"""Move, back up, restore and leave: what is done to a home as a whole."""
