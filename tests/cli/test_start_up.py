"""What a command loads before it answers: the start-up time of every call."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

#: The program itself, which ends by listing what it has loaded.
PROGRAM = (
    "import json, sys\n"
    "from leadline.cli.main import main\n"
    "try:\n"
    "    main()\n"
    "finally:\n"
    "    print(json.dumps([name for name in sys.modules if '.' not in name or name.startswith('torch._')]))\n"
)
#: What takes long to import and is not needed for one photograph.
HEAVY = {
    "torch._dynamo",
    "torch._inductor",
    "diffusers",
    "transformers",
    "scipy",
    "rich",
    "av",
    "sympy",
    "huggingface_hub",
    "matplotlib",
}


def loaded_by(*arguments: object) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("decoder", ["full", "small"])
def test_one_photograph_loads_torch_and_little_else(tmp_path, decoder):
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "a.png")
    loaded = loaded_by("predict", tmp_path / "a.png", "-o", tmp_path, "--size", 64, "--quiet", "--decoder", decoder)
    assert (tmp_path / "a.depth.png").exists()
    assert "torch" in loaded
    assert not loaded & HEAVY
