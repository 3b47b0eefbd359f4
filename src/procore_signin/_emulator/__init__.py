"""The implementation of `procore_signin.emulator`, a local Procore."""
