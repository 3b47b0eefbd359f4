"""The change of keys, while everything runs: which are needed, sealing anew, and lost ones."""
