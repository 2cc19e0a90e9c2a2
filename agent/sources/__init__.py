"""Sources of samples, one technology per file."""
