"""Misbehaviour on command: which faults wait, and what each does."""
