"""How a request reaches Procore and a response comes back, or why not."""
