"""The documentation is true: its blocks run, its commands exist, its links lead somewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from places import ROOT

from leadline.cli.main import COMMANDS, cli

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<kind>bash|python)\n(?P<text>.*?)^```", re.M | re.S
)


def blocks(page: Path, kind: str) -> list[tuple[int, str, str | None]]:
    """(line, text, reason why it is not run) of a page's blocks."""
    text = page.read_text(encoding="utf-8")
    found = [match for match in _BLOCK.finditer(text) if match["kind"] == kind]
    return [(text.count("\n", 0, match.start()) + 1, match["text"], match["reason"]) for match in found]


def commands() -> list[tuple[str, list[str]]]:
    """Every `leadline ...` in a bash block, with where it stands."""
    found = []
    for page in PAGES:
        for line, text, _ in blocks(page, "bash"):
            for number, command in enumerate(text.replace("\\\n", " ").splitlines()):
                words = _words(command)
                if words and words[0] == "leadline" and len(words) > 1:
                    found.append((f"{page.relative_to(ROOT)}:{line + number}", words[1:]))
    return found


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return []
    end = next((i for i, word in enumerate(words) if word in ("|", "&&", ";", "&", ">", "2>", "||")), len(words))
    return words[:end]


@pytest.mark.parametrize(("where", "words"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_in_the_docs_exists_with_its_options(where, words):
    context, command, rest = click.Context(cli, info_name="leadline"), cli, words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        inner = command.get_command(context, rest[0])
        if inner is None and not command.invoke_without_command:
            pytest.fail(f"{where}: there is no `leadline {' '.join(words[:1])}` ({', '.join(COMMANDS)})")
        if inner is None:
            break
        context, command, rest = click.Context(inner, info_name=rest[0], parent=context), inner, rest[1:]
    if "--help" in rest:
        return
    try:
        command.make_parser(context).parse_args(list(rest))
    except click.UsageError as error:
        pytest.fail(f"{where}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile(page):
    for line, text, _ in blocks(page, "python"):
        try:
            ast.parse(text)
        except SyntaxError as error:
            pytest.fail(f"{page.name}:{line + (error.lineno or 0)}: {error.msg}")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with the files that the blocks name."""
    from small_film import make_film

    folder = tmp_path_factory.mktemp("desk")
    with Image.open(ROOT / "assets" / "demo" / "living_room.jpg") as picture:
        small = picture.convert("RGB").resize((480, 480 * picture.height // picture.width // 2 * 2))
    small = small.resize((480, 420))
    small.save(folder / "photo.jpg")
    small.resize((512, 256)).save(folder / "around.jpg")
    (folder / "holiday").mkdir()
    small.save(folder / "holiday" / "beach.jpg")
    make_film(folder / "clip.mp4", frames=2)
    (folder / "frames").mkdir()
    small.save(folder / "frames" / "a.jpg")
    depth_m = np.linspace(1, 5, 420, dtype=np.float32)[::-1, None].repeat(480, axis=1)
    np.savez(folder / "frames" / "a.depth.npz", depth=depth_m)
    focal = 500.0
    y, x = np.mgrid[0:420:10, 0:480:10]
    z = depth_m[y, x]
    points = np.stack([(x - 239.5) / focal * z, (y - 209.5) / focal * z, z], axis=-1).reshape(-1, 3)
    np.hstack([points, np.zeros((len(points), 1))]).astype("<f4").tofile(folder / "scan.bin")
    sparse = np.zeros((420, 480), np.uint16)
    sparse[::20, ::20] = depth_m[::20, ::20] * 256  # KITTI's unit
    Image.fromarray(sparse).save(folder / "sparse.png")
    np.save(folder / "other.npy", 1 / depth_m)
    camera = {"width": 480, "height": 420, "K": [focal, 0, 239.5, 0, focal, 209.5, 0, 0, 1]}
    (folder / "calib.json").write_text(json.dumps(camera | {"lidar_to_camera": np.eye(4).tolist()}))
    (folder / "docs" / "images").mkdir(parents=True)
    (folder / "calib.yaml").write_text(
        "image_width: 480\nimage_height: 420\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: [{focal}, 0, 239.5, 0, {focal}, 209.5, 0, 0, 1]}}\n"
        "distortion_model: plumb_bob\ndistortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n"
        "lidar_to_camera: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]\n"
    )
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_blocks_that_are_checked(page):
    """Not in blocks of no language or of another name for the shell, which nothing here would read."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    unread = [text for kind, text in fences if kind in ("", "sh", "shell", "console", "py")]
    assert [text for text in unread if re.match(r"(leadline|python3?|pip|import|from) ", text)] == []


def runnable(kind: str) -> list:
    return [
        pytest.param(text, id=f"{page.name}:{line}")
        for page in PAGES
        for line, text, reason in blocks(page, kind)
        if reason is None
    ]


@pytest.mark.slow
@pytest.mark.parametrize("text", runnable("bash"))
def test_shell_blocks_run(text, desk):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BROWSER": "true",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=desk, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(not why for *_, why in blocks(page, "python"))], ids=lambda page: page.name
)
def test_python_blocks_run(page, desk, monkeypatch):
    """One after the other, as a reader would type them; what a page calls by name without making it is made here."""
    monkeypatch.chdir(desk)
    with Image.open("photo.jpg") as photo:
        rgb = np.asarray(photo)
    sparse_depth_m = np.zeros((420, 480), np.float32)
    sparse_depth_m[::20, ::20] = 2.0
    names = {"sparse_depth_m": sparse_depth_m, "frames": [rgb, rgb], "values": np.load("other.npy")}
    for line, text, reason in blocks(page, "python"):
        if reason is None:
            exec(compile(text, f"{page.name}:{line}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    own = "https://github.com/leadline-depth/leadline/blob/main/"
    raw = "https://raw.githubusercontent.com/leadline-depth/leadline/main/"
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith((own, raw)):
            path = ROOT / target.removeprefix(own).removeprefix(raw).partition("#")[0]
        elif re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        else:
            path = page.parent / target.partition("#")[0]
        assert path.exists(), f"{page.name} names {target}"


def test_readme_has_absolute_links_only():
    """They have to lead somewhere from the package index, too."""
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_command_line_reference_is_current():
    """In a process of its own: click keeps a command's help option from the first call."""
    check = subprocess.run([sys.executable, ROOT / "docs" / "make_cli_reference.py", "--check"], check=False)
    assert check.returncode == 0, "run: python docs/make_cli_reference.py"


@pytest.mark.parametrize("notebook", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_run(notebook, tmp_path, monkeypatch):
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir(tmp_path / "examples")
    names: dict[str, object] = {}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{notebook.name}, cell {number}", "exec"), names)
