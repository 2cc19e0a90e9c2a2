"""From samples and tables to rows: windows, recordings, headers, examples, statistics with noise."""
