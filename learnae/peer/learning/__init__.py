"""What a peer learns between two messages: merging, training, when it is enough, which versions to keep."""
