"""How a peer of either role keeps to its owner's ``[privacy]``."""
