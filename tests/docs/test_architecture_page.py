"""docs/architecture.md, the contracts of the imports and the folders name the same rooms."""

from __future__ import annotations

import re

import pytest
from places import ROOT

tomllib = pytest.importorskip("tomllib")  # Python 3.11

CORE = ROOT / "core" / "leadline"
ROOMS = {folder.name for folder in CORE.iterdir() if (folder / "__init__.py").exists()}


def test_the_page_has_a_row_for_each_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w/]+)/`", page, re.MULTILINE)
    assert {row for row in rows if "/" not in row} == ROOMS
    assert all((ROOT / row).is_dir() for row in rows if "/" in row)


def test_the_page_s_picture_of_the_imports_has_each_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(r"```mermaid\nflowchart TD\n(.*?)```", page, re.DOTALL)
    assert ROOMS - set(re.findall(r"\w+", picture)) == set()


def test_each_room_has_its_place_in_the_layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["name"] == "imports run downhill")
    assert ROOMS - set(re.findall(r"leadline\.(\w+)", " ".join(layers))) == set()


def test_tuned_numbers_are_frozen_and_each_has_its_reason():
    """A comment above each number; a run of numbers may share the one above the first."""
    files = sorted(CORE.rglob("tuned.py"))
    assert len(files) > 8
    for file in files:
        text = file.read_text()
        assert text.count("@dataclass(frozen=True)\nclass ") == text.count("\nclass "), file
        for body in re.findall(r"^class \w+:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
            above = "reason"
            for line in (line.strip() for line in body.splitlines()):
                if re.match(r"\w+: ", line) and not line.startswith("#"):
                    assert above, f"{file.relative_to(ROOT)}: {line} has no reason"
                above = line
