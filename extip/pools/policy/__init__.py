"""Pure: which service has which address of which pool, and what is written about it."""
