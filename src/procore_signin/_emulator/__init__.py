"""A local Procore: what `procore_signin.emulator` is made of."""
