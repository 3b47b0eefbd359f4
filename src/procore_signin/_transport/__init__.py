"""Sends requests to Procore and returns the responses, or raises the reason."""
