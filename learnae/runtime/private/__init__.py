"""What the owner's section ``[privacy]`` asks of a peer, for both roles."""
