"""One technology per file; each implements ports of learnae.ports."""
