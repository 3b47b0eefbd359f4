"""Faults: misbehaviour of the emulator on command."""
