"""What to do, in order: each flow is a generator that asks for steps and receives outcomes."""
