"""What leaves a machine, and what it tells: clipping, noise, its accountant, floors of the owner. Pure."""
