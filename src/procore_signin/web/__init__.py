"""Browser to front door: one set of endpoints on raw bytes, and a thin mapping per framework."""
