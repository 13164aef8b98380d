"""``python -m leadline.training.launch CONFIG OUT``: one configured training, for process launchers."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from leadline.training.config import load_config
from leadline.training.run import run


def main(arguments: list[str]) -> None:
    """Train by the configuration file ``arguments[0]`` into the folder ``arguments[1]``, one CPU thread."""
    torch.set_num_threads(1)
    config_path, out = map(Path, arguments)
    run(load_config(config_path), out, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main(sys.argv[1:])
