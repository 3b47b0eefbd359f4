"""The sign-in in web frameworks: shared endpoints on raw bytes, a thin mapping for each."""
