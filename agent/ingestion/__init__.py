"""From a source to the sample buffer: a thread each, labels, holdout, SQLite."""
