"""The parts of `leadline eval`."""
