"""`--show` and `make demo` in real terminals of two widths: a picture's rows stand below each other, the bar beside none of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import base_place
import pytest
from PIL import Image
from places import ROOT
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux for a real terminal"),
]


@pytest.mark.parametrize("columns", [80, 110])
def test_the_picture_stands_by_itself(tmp_path, photo, columns):
    save_model(tiny_bundle("depthfm"), tmp_path / "tiny.safetensors")
    Image.fromarray(photo).save(tmp_path / "a.png")
    program = f"{shlex.quote(sys.executable)} -m leadline predict a.png -m tiny.safetensors --ensemble 2 --show"
    screen = screen_after(program, tmp_path, columns)
    (picture,) = pictures(screen)
    assert len(picture) >= 8
    assert "a.png" in screen.splitlines(), "the picture's name"
    assert_whole(picture, columns)
    assert "1 of 1 done" in screen


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone whose environment is made already: the base install, so that `make demo` downloads nothing."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    folder = tmp_path_factory.mktemp("demo") / "leadline"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(folder)], check=True)
    base_place.made(folder / ".venv", source=folder)
    (folder / ".venv" / ".lean").touch()
    return folder


@pytest.mark.parametrize("columns", [80, 110])
def test_make_demo_shows_its_pictures(clone, columns):
    shutil.rmtree(clone / "out", ignore_errors=True)
    screen = screen_after("make demo", clone, columns)
    shown = pictures(screen)
    assert len(shown) == len(list((clone / "assets" / "demo").iterdir())), screen
    for picture in shown:
        assert_whole(picture, columns)
        assert len(picture[0]) > 0.7 * min(96, columns), "the terminal's width is not used"
    assert "Depth maps, uncertainty and previews are in out/demo/" in screen
    assert len(list((clone / "out" / "demo").glob("*.depth.png"))) == len(shown)


def screen_after(program: str, folder: Path, columns: int) -> str:
    """What a terminal of so many columns shows when the program has ended."""
    tmux = ["tmux", "-L", f"leadline-{os.getpid()}-{columns}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAKE", "TMUX"))}
    environment |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", str(columns), "-y", "120", "-c", str(folder), f"{program}; echo THE-END; sleep 60"],
        check=True, env=environment,
    )  # fmt: skip
    try:
        return _wait_for(tmux, "THE-END")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def pictures(screen: str) -> list[list[str]]:
    """The rows of each picture: lines that follow each other and have its character."""
    lines = [line.rstrip() for line in screen.splitlines()]
    return [list(rows) for shown, rows in groupby(lines, key=lambda line: "▀" in line) if shown]


def assert_whole(picture: list[str], columns: int) -> None:
    assert len({len(row) for row in picture}) == 1, "rows of the picture differ in length"
    assert all(set(row) <= {"▀", " "} for row in picture), "something stands beside the picture"
    assert len(picture[0]) <= columns


def _wait_for(tmux: list[str], word: str) -> str:
    for _ in range(1500):
        screen = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
        if word in screen:
            return screen
        time.sleep(0.2)
    pytest.fail(f"the program did not end: {screen}")
