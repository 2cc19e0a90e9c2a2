"""From samples and tables to rows: windows and examples, recordings, headers, statistics with noise."""
