"""Speed and memory, ours beside the official schedule, at equal output: what `leadline bench` runs."""
