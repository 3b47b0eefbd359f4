"""The controls of the emulator for tests, from Python and over HTTP."""
