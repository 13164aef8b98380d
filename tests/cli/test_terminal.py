"""`--show` in real terminals of two widths: the picture's rows stand below each other, the bar beside none of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux for a real terminal")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 110])
def test_the_picture_stands_by_itself(tmp_path, photo, columns):
    save_model(tiny_bundle("depthfm"), tmp_path / "tiny.safetensors")
    Image.fromarray(photo).save(tmp_path / "a.png")
    program = (
        f"{shlex.quote(sys.executable)} -m leadline predict a.png -m tiny.safetensors --ensemble 2 --show; echo THE-END"
    )
    name = f"leadline-{os.getpid()}-{columns}"
    tmux = ["tmux", "-L", name]
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", str(columns), "-y", "60", "-c", str(tmp_path), f"{program}; sleep 60"],
        check=True, env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        screen = _wait_for(tmux, "THE-END")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    rows = [line.rstrip() for line in screen.splitlines() if "▀" in line]
    assert len(rows) >= 8
    assert len({len(row) for row in rows}) == 1, "rows of the picture differ in length"
    assert all(set(row) <= {"▀", " "} for row in rows), "something stands beside the picture"
    assert len(rows[0]) <= columns
    assert "1 of 1 done" in screen


def _wait_for(tmux: list[str], word: str) -> str:
    for _ in range(600):
        screen = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
        if word in screen:
            return screen
        time.sleep(0.2)
    pytest.fail(f"the program did not end: {screen}")
