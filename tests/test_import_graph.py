"""The import graph, read from the sources by itself: neither files nor rooms go in circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

Graph = dict[str, set[str]]
SOURCES = {"leadline": "core", "leadline_ros": "ros2_node", "leadline_blender": "blender_addon"}


def modules(package: str, folder: Path) -> dict[str, Path]:
    """Dotted name → file."""
    files = (folder / package).rglob("*.py")
    return {".".join(f.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(node: ast.AST, types_too: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import, also those inside functions; those under `if TYPE_CHECKING` only if wanted."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif types_too or not for_type_checkers(child):
            yield from statements(child, types_too)


def imported(name: str, file: Path, known: dict[str, Path], types_too: bool) -> set[str]:
    """The known modules that a module imports."""
    found: set[str] = set()
    for node in statements(ast.parse(file.read_text()), types_too):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        start = (
            name.split(".")[: len(name.split(".")) - node.level + (file.name == "__init__.py")] if node.level else []
        )
        base = ".".join([*start, *([node.module] if node.module else [])])
        for alias in node.names:
            found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base)
    return (found & known.keys()) - {name}


def graph_of(package: str, types_too: bool) -> Graph:
    known = modules(package, ROOT / SOURCES[package])
    return {name: imported(name, file, known, types_too) for name, file in known.items()}


def rooms_of(graph: Graph) -> Graph:
    """The same graph between the packages and modules at the top of `leadline`."""
    rooms: Graph = {}
    for name, targets in graph.items():
        room = name.split(".")[1] if "." in name else name
        aimed = {target.split(".")[1] if "." in target else target for target in targets}
        rooms.setdefault(room, set()).update(aimed - {room})
    return rooms


def circle_in(graph: Graph) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", SOURCES)
def test_files_do_not_import_in_circles(package):
    graph = graph_of(package, types_too=False)
    assert sum(map(len, graph.values())) > len(graph) / 2, "the sources were not read"
    assert circle_in(graph) == []


def test_rooms_do_not_import_in_circles():
    rooms = rooms_of(graph_of("leadline", types_too=True))
    assert {"depth", "inference", "cli"} <= rooms.keys()
    assert rooms["inference"] >= {"models", "checkpoints", "depth"}
    assert circle_in(rooms) == []


def test_a_circle_would_be_found(tmp_path, monkeypatch):
    package = tmp_path / "core" / "leadline"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "a.py").write_text("def f():\n    from leadline import b\n")
    (package / "b.py").write_text("from . import c\n")
    (package / "c.py").write_text("from .a import f\n")
    monkeypatch.setattr("test_import_graph.ROOT", tmp_path)
    assert set(circle_in(graph_of("leadline", types_too=False))) == {"leadline.a", "leadline.b", "leadline.c"}
