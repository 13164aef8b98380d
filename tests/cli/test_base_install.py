"""The same mistakes in a base install: an environment with what `pip install leadline` brings, pytest, and no extra."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import base_place
import pytest
from PIL import Image
from places import ROOT

pytestmark = pytest.mark.slow

#: What the tests themselves import.
RUNNER = ("pytest", "hypothesis")
#: Of each extra, a package that is not to be seen.
EXTRAS = ("zmq", "fastapi", "ray", "accelerate", "matplotlib", "h5py", "onnx", "transformers", "trimesh", "rosbags")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the base install."""
    return base_place.made(tmp_path_factory.mktemp("base") / "venv", *RUNNER, source=ROOT)


def run(python: Path, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST_"))}
    command = [str(word) for word in (python, *words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_bad_inputs_without_extras(python):
    names = ", ".join(repr(name) for name in EXTRAS)
    code = f"from importlib.util import find_spec; print([name for name in ({names}) if find_spec(name)])"
    assert run(python, "-c", code).stdout.strip() == "[]"
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cli/test_bad_inputs.py")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 120


@pytest.mark.parametrize(
    "words",
    [
        "keys list", "serve", "serve --engine ray", "serve --http 8080", "ui", "train mini -o out",
        "export fiffdepth-mini -o m.onnx", "mesh photo.png -o m.glb --size 64", "bag a.mcap -o b.mcap --image /a",
        "eval -d pairs --root .", "ros",
    ],
)  # fmt: skip
def test_what_needs_an_extra_says_which(python, tmp_path, photo, words):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = run(python, "-m", "leadline", *words.split(), cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line and not line[0].isspace()]
    assert line.startswith("leadline: ")
    assert "pip install '" in line
    assert [file.name for file in tmp_path.iterdir()] == ["photo.png"], "something half-written"
