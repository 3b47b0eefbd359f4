"""What a page asks by `fetch`: JSON in requests, and JSON in responses."""
