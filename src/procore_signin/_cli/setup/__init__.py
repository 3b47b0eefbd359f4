"""Commands that set things up and check them: `init`, `doctor`."""
