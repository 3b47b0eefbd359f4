"""The sign-in beside the application's own: its login, its buttons, its start page."""
