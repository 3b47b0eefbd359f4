"""SQLite: one file, one writer, and commits that several callers share."""
