"""The implementation of `procore_signin.api`."""
