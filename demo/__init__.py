"""The main job on one machine: eight peers, one for each person of the shipped recordings."""
