"""One API request: where it may go, and the bytes of its response."""
