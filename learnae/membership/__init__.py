"""Who is in: policies, signed records, and the secrets that members share. Pure; nothing here does I/O."""
