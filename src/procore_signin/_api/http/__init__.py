"""A call of the API on its way: where it may go, and the bytes that come back."""
