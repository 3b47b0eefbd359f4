"""OAuth 2.0 as values: standard library only, no input or output, no clock, no randomness."""
