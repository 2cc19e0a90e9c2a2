"""Who is in a swarm: policies and signed records. Pure; nothing here does I/O."""
