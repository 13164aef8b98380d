"""Ours against the official schedule, at equal output: what `leadline bench` measures.

Usage: python benchmarks/inference.py [OPTIONS OF leadline bench]
"""

from leadline.cli.bench import command

if __name__ == "__main__":
    command()
