"""Measures procore-signin beside what people use today: `make bench`, or `python -m harness`."""
