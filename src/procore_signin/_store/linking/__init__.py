"""Which user of the application a user who signed in is connected to."""
