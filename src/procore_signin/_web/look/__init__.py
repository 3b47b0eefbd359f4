"""How the sign-in's pages look and which language they speak."""
