"""The flow inspector: it reads the journal, and nothing else."""
