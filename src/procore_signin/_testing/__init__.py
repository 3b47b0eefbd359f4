"""An application's own tests: someone is signed in, and nothing leaves the process."""
