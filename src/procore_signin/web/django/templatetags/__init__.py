"""Template tags: `{% load procore_signin %}`."""
