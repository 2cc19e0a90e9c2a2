"""Who is in: signed records, the roster that follows from them, and the secrets that members share. No I/O."""
