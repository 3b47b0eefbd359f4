"""Safety sessions: a small project with users of its own, who log in by e-mail."""
