"""What a test may do to the emulator, from Python and over HTTP."""
