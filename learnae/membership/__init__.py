"""Who is in: policies, signed records, codes, and the secrets that members share. Pure; nothing here does I/O."""
