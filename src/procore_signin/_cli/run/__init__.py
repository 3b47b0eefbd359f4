"""Commands that run something: `demo`, `serve`, `emulator`."""
