"""How a request reaches Procore and an answer comes back, or why not."""
