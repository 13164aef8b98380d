"""Places with something close on one side: rooms seen along a near wall, and open boxes seen from their corner.

Both are drawn by name only, as the crowded places are.
"""

from __future__ import annotations

import numpy as np

from .. import furniture as f
from ..camera import Viewpoint
from ..palette import Palette
from ..scene import Scene
from ..things import ON_FURNITURE, SMALL, carton, scatter
from ..world import World, turn
from .rooms import SETS, _indoor
from .tables import _backdrop, _desk_light, _slab

Rng = np.random.Generator


def alongside(rng: Rng, aspect: float) -> Scene:
    """A room whose side wall passes the camera within arm's reach: bare, stepped like a cellar's, or full of boards."""
    w, length, h = float(rng.uniform(2.2, 6.5)), float(rng.uniform(2.5, 7)), float(rng.uniform(2.0, 3.0))
    pieces = SETS[str(rng.choice([*SETS, "store", "store"]))]
    scene, palette = _indoor(rng, aspect, pieces, (w, length, h), int(rng.integers(5, 14)))
    world = scene.world
    side = int(rng.choice([-1, 1]))
    with world.at(side * w / 2, 0, 0, -side * np.pi / 2):
        depth = _near_wall(world, palette, rng, side, length, h)
    if rng.random() < 0.35:
        _far_corner(world, palette, rng, side, w, length, h)
    away = depth + float(rng.uniform(0.3, 1.0))
    eye = (side * (w / 2 - away), float(rng.uniform(-0.8, 0.6)), float(np.clip(rng.normal(1.4, 0.25), 0.7, h - 0.3)))
    aim = side * w * float(rng.uniform(-0.25, 0.45))
    target = (aim, length * float(rng.uniform(0.7, 1.0)), float(np.clip(rng.normal(0.9, 0.3), 0.2, 1.7)))
    scene.camera = Viewpoint.looking_at(eye, target, float(rng.normal(0, 0.03)), float(rng.uniform(0.85, 1.3)))
    scene.near = 0.25
    return scene


def _near_wall(world: World, palette: Palette, rng: Rng, side: int, length: float, h: float) -> float:
    """What stands along the near wall, in its frame: x along it, facing −y. Returns how far it comes out."""
    rough = palette.pick("concrete", "wall", "wall", "rock", "white", "outside_wall")
    kind = rng.random()
    start, end = -1.4, length * float(rng.uniform(0.5, 1.0))
    middle, long = -side * (start + end) / 2, end - start
    if kind < 0.3:  # bare but for pictures, boards or a door
        world.box((middle, -0.02, h / 2), (long, 0.04, h), rough)
        return 0.05
    deep = float(rng.uniform(0.2, 0.6))
    tall = float(rng.uniform(0.55, 1.3))
    if kind < 0.65:  # a lower wall that stands before the upper one, things on its top
        world.box((middle, -deep / 2, tall / 2), (long, deep, tall), rough)
        if rng.random() < 0.5:
            world.box((middle, -deep / 2, tall), (long, deep + 0.06, 0.04), palette.pick("wood", "white", "dark"))
    else:  # boards on posts
        board = palette.pick("wood", "wood", "metal", "white")
        world.box((middle, -deep / 2, tall), (long, deep, 0.04), board)
        for x in np.linspace(-long / 2 + 0.05, long / 2 - 0.05, 4):
            world.box((middle + x, -deep + 0.04, h / 2 if kind < 0.85 else tall / 2), (0.06, 0.06, h), board)
        with world.at(middle, -deep / 2):
            scatter(world, palette, rng, (long, deep), int(rng.integers(2, 8)), (0.1, tall * 0.8), gap=0.3)
    with world.at(middle, -deep / 2, tall + 0.02):
        scatter(world, palette, rng, (long, deep), int(rng.integers(3, 16)), (0.08, 0.45), gap=0.3)
    for z in np.arange(tall + 0.45, h - 0.2, float(rng.uniform(0.3, 0.5))):
        if rng.random() < 0.55:
            over = deep * float(rng.uniform(0.4, 1.0))
            board = palette.pick("wood", "white", "metal")
            world.box((middle, -over / 2, z), (long * 0.95, over, 0.03), board)
            with world.at(middle, -over / 2, z + 0.015):
                scatter(
                    world, palette, rng, (long * 0.9, over), int(rng.integers(3, 14)), (0.08, 0.35), ON_FURNITURE, gap=0.3
                )  # fmt: skip
    if rng.random() < 0.4:  # bags and coats on hooks, planks leaning
        x = middle + float(rng.uniform(-0.3, 0.3)) * long
        world.ball(
            (x, -deep - 0.1, tall), tuple(float(v) for v in rng.uniform(0.12, 0.3, 3)), palette.pick("dark", "fabric")
        )
    return deep


def _far_corner(world: World, palette: Palette, rng: Rng, side: int, w: float, length: float, h: float) -> None:
    """A pier, a chimney breast or a row of lockers that narrows the room on the other side."""
    thick, long = float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.4, 2.0))
    y = length * float(rng.uniform(0.4, 1.0)) - long / 2
    tall = h if rng.random() < 0.6 else h * float(rng.uniform(0.5, 0.9))
    stuff = palette.pick("concrete", "wall", "metal", "white", "wood", "panels")
    world.box((-side * (w / 2 - thick / 2), y, tall / 2), (thick, long, tall), stuff)


def open_box(rng: Rng, aspect: float) -> Scene:
    """An open carton or crate on a table, seen from before one of its corners: near outer wall, products within."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    drop = float(rng.uniform(0.65, 0.85))
    _slab(world, palette, rng, float(rng.uniform(0.9, 1.8)), float(rng.uniform(0.7, 1.2)), drop)
    _backdrop(world, palette, rng, drop, float(rng.uniform(0.6, 2.5)))
    w, d, h = float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.15, 0.4))
    yaw = float(rng.choice([-1, 1])) * float(rng.uniform(0.1, 0.9))
    with world.at(0, 0, 0, yaw):
        _box(world, palette, rng, w, d, h)
    others = int(rng.integers(0, 3))
    for _ in range(others):  # other boxes beside and behind
        with world.at(float(rng.choice([-1, 1])) * float(rng.uniform(0.4, 0.8)), float(rng.uniform(-0.1, 0.6))):
            if rng.random() < 0.5:
                carton(world, palette, rng, float(rng.uniform(0.12, 0.35)))
            else:
                f.boxes(world, palette, rng, 0.35, 0.3, float(rng.uniform(0.15, 0.5)))
    with world.at(0, float(rng.uniform(-0.3, 0.3))):
        scatter(world, palette, rng, (1.3, 0.4), int(rng.integers(0, 5)), (0.05, 0.25), SMALL)
    reach = float(rng.uniform(0.3, 0.9)) + 0.5 * max(w, d)
    pitch = float(rng.uniform(0.05, 0.75))
    swing = float(rng.normal(0, 0.2))
    middle = h * float(rng.uniform(0.2, 0.6))
    eye = (
        reach * np.sin(swing) * np.cos(pitch),
        -reach * np.cos(swing) * np.cos(pitch),
        max(0.06, middle + reach * np.sin(pitch)),
    )
    aim = (float(rng.normal(0, 0.25)) * w, 0.0, middle)
    scene.camera = Viewpoint.looking_at(eye, aim, float(rng.normal(0, 0.05)), float(rng.uniform(0.75, 1.2)))
    scene.light = _desk_light(rng, 1.0)
    scene.near = 0.12
    return scene


def _box(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """Open to the front (−y), to the top, or to both behind a low lip; filled."""
    wall = float(rng.uniform(0.004, 0.015))
    shell = palette.pick("cardboard", "cardboard", "cardboard", "printed", "white", "wood", "metal", "paint")
    inner = shell if rng.random() < 0.5 else palette.pick("dark", "cardboard", "white", "dark")
    for s in (-1, 1):
        world.box((s * w / 2, 0, h / 2), (wall, d, h), shell)
        world.box((s * (w / 2 - wall), 0, h / 2), (wall, d - 2 * wall, h), inner)
    world.box((0, d / 2, h / 2), (w, wall, h), inner)
    world.box((0, 0, wall / 2), (w, d, wall), inner)
    lies = rng.random() < 0.65  # on its side: the opening faces front
    if lies:
        world.box((0, 0, h), (w + wall, d, wall), shell)
    lip = h * float(rng.uniform(0.1, 0.4)) if lies else h
    if not lies or rng.random() < 0.7:
        world.box((0, -d / 2, lip / 2), (w, wall, lip), shell if rng.random() < 0.5 else palette.pick("metal", "paint"))
    if rng.random() < 0.5:  # flaps
        for s in (-1, 1):
            lean = s * float(rng.uniform(-0.4, 0.9))
            if lies:
                world.box((s * (w / 2 + 0.05 * abs(lean)), -d / 2 - 0.06, h / 2), (wall, 0.12, h), shell, turn(lean))
            else:
                world.box((s * (w / 2 + 0.05), 0, h + 0.01), (0.11, d, wall), shell, turn(0, 0, s * 0.4))
    with world.at(0, 0, wall):
        size = (h * 0.3, h * 0.9) if lies else (h * 0.4, h * 1.2)
        scatter(world, palette, rng, (w * 0.85, d * 0.8), int(rng.integers(2, 9)), size, SMALL, gap=0.25)
