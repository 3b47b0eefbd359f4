"""Procore's API for a user or a service account: what `procore_signin.api` is made of."""
