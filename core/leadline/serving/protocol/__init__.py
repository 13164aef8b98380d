"""The wire protocol: NumPy only."""
