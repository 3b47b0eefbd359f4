"""OAuth 2.0 as values: standard library only, no I/O, no clock, no randomness."""
