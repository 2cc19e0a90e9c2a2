"""Who is in: records, roster, key epochs, sealing. Pure."""
