"""From a section of the configuration to the adapters of one technology; ``connect`` is the list of them."""
