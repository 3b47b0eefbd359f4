"""Keys and seals: what is stored opens only with a key of the ring."""
