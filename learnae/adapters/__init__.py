"""What implements the ports: one folder a technology. No adapter knows a peer; ``runtime.links`` chooses them."""
