"""A flatbuffer that trains: layers with gradients, losses, optimisers, the program."""
