"""Who is in: what a peer takes in of it, and what it does for others as a member."""
