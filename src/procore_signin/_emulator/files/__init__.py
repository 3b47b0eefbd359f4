"""What is read from files and written to them: seeds and states."""
