"""The edge role: a board that collects samples and takes short private training steps."""
