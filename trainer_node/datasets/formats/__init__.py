"""Files of each format as sources of rows."""
