"""Crowded places: cellars full of things and machines, and still lifes whose objects stand at several depths.

Both are drawn by name only; they have no share in the mixture, so that the mixture's scenes stay what they were.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .. import furniture as f
from ..camera import Viewpoint
from ..palette import Palette
from ..scene import Scene
from ..things import SMALL, carton, figure, scatter, turned
from ..world import World, turn
from .rooms import SETS, _indoor
from .tables import _desk_light

Rng = np.random.Generator


def cellar(rng: Rng, aspect: float) -> Scene:
    """A basement or garage: rough walls, benches and shelves heaped with things, tanks, ducts, crates near the camera."""
    w, length, h = float(rng.uniform(2.6, 6)), float(rng.uniform(2.5, 7)), float(rng.uniform(2.0, 2.8))
    scene, palette = _indoor(rng, aspect, SETS["store"], (w, length, h), int(rng.integers(6, 16)))
    world = scene.world
    rough = palette.pick("concrete", "wall", "wall")
    for side in (-1, 1):
        if rng.random() < 0.6:
            world.box((side * (w / 2 - 0.01), length / 2, h / 2), (0.04, length + 2, h), rough)
    if rng.random() < 0.6:
        world.box((0, length - 0.01, h / 2), (w, 0.04, h), palette.pick("concrete", "wall"))
    for side in (-1, 1):
        if rng.random() < 0.75:
            with world.at(side * (w / 2 - 0.04), 0, 0, -side * np.pi / 2):
                _bench(world, palette, rng, side, length)
    _pipework(world, palette, rng, w, length, h)
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.uniform(-0.4, 0.4)) * w, length * float(rng.uniform(0.55, 0.92))
        _tank(world, palette, rng, x, y, h)
    with world.at(0, length * 0.6):
        scatter(world, palette, rng, (w * 0.8, length * 0.7), int(rng.integers(4, 16)), (0.15, 0.6), (carton, *SMALL))
    if rng.random() < 0.4:  # something large close to the camera, cut by the picture's edge
        eye, heading = scene.camera.eye, scene.camera.yaw + float(rng.choice([-1, 1])) * float(rng.uniform(0.35, 0.6))
        away = float(rng.uniform(0.8, 1.5))
        with world.at(eye[0] - np.sin(heading) * away, eye[1] + np.cos(heading) * away, 0, float(rng.uniform(0, 6.3))):
            (f.boxes if rng.random() < 0.6 else f.chair)(world, palette, rng, 0.5, 0.5, float(rng.uniform(0.6, 1.5)))
    scene.near = 0.3
    return scene


def _bench(world: World, palette: Palette, rng: Rng, side: int, length: float) -> None:
    """A workbench along a side wall, in the wall's frame: x along it, facing −y; heaped, with boards above."""
    deep, tall = float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.6, 1.1))
    start, end = float(rng.uniform(0.2, 0.4)) * length, float(rng.uniform(0.6, 1.0)) * length
    middle, long = -side * (start + end) / 2, end - start
    top = palette.pick("wood", "wood", "metal", "dark")
    world.box((middle, -deep / 2, tall), (long, deep, 0.05), top)
    for x in np.linspace(-long / 2 + 0.05, long / 2 - 0.05, 3):
        world.box((middle + x, -deep + 0.06, tall / 2), (0.07, 0.07, tall), top)
    for z, count, size in ((0.0, 6, 0.5), (tall + 0.025, 14, 0.35)):
        with world.at(middle, -deep / 2, z):
            most = min(size, tall * 0.8) if z == 0 else size
            scatter(world, palette, rng, (long, deep), int(rng.integers(2, count)), (0.08, most), gap=0.3)
    for z in np.arange(tall + 0.5, 1.9, 0.4):
        if rng.random() < 0.6:
            world.box((middle, -0.13, z), (long * 0.9, 0.26, 0.03), top)
            with world.at(middle, -0.13, z + 0.015):
                scatter(world, palette, rng, (long * 0.85, 0.2), int(rng.integers(3, 10)), (0.08, 0.32), gap=0.3)


def _tank(world: World, palette: Palette, rng: Rng, x: float, y: float, h: float) -> None:
    """A boiler, a drum, a machine: a big body on feet, with lids, dials and pipes to the ceiling."""
    radius, tall = float(rng.uniform(0.18, 0.38)), float(rng.uniform(0.6, min(1.7, h - 0.3)))
    shell, pipe = palette.pick("white", "metal", "paint", "white"), palette.pick("metal", "dark")
    if rng.random() < 0.6:
        world.tube((x, y, 0.08), (x, y, tall), radius, shell)
        world.ball((x, y, tall), (radius, radius, radius * 0.3), shell)
    else:
        world.box((x, y, tall / 2), (radius * 2, radius * 1.6, tall), shell, turn(float(rng.normal(0, 0.1))))
        world.box((x, y - radius * 0.82, tall * 0.6), (radius * 1.4, 0.04, tall * 0.3), palette.pick("dark", "metal"))
    for _ in range(int(rng.integers(1, 4))):
        dx, dy = rng.uniform(-0.7, 0.7, 2) * radius
        bend = float(rng.uniform(tall + 0.1, h))
        far = (x + float(rng.normal(0, 0.6)), y + float(rng.normal(0, 0.4)), bend)
        thick = float(rng.uniform(0.012, 0.07))
        world.tube((x + dx, y + dy, tall), (x + dx, y + dy, bend), thick, pipe)
        world.capsule((x + dx, y + dy, bend), far, thick, pipe)
        world.tube(far, (far[0], far[1], h), thick, pipe)


def _pipework(world: World, palette: Palette, rng: Rng, w: float, length: float, h: float) -> None:
    """Ducts, pipes and joists under the ceiling."""
    if rng.random() < 0.5:
        joist = palette.pick("wood", "wood", "metal")
        for y in np.arange(0.2, length, float(rng.uniform(0.35, 0.7))):
            world.box((0, y, h - 0.09), (w, 0.05, 0.18), joist)
    for _ in range(int(rng.integers(2, 7))):
        z, radius = h - float(rng.uniform(0.1, 0.45)), float(rng.choice([0.015, 0.03, 0.06, 0.14]))
        pipe = palette.pick("metal", "white", "dark", "paint")
        x, y = float(rng.uniform(-0.48, 0.48)) * w, float(rng.uniform(0.3, 1.0)) * length
        if rng.random() < 0.5:
            world.tube((x, -1, z), (x, length, z), radius, pipe)
        else:
            world.tube((-w / 2, y, z), (w / 2, y, z), radius, pipe)
        if rng.random() < 0.5:
            world.tube((x, y, 0), (x, y, z), radius, pipe)


def still_life(rng: Rng, aspect: float) -> Scene:
    """A few large objects, each at its own depth, before draped cloth; a crate at the bottom, boards at the sides."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    reach = float(rng.uniform(0.7, 2.0))  # camera to the middle of the set; everything scales with it
    far = reach * float(rng.uniform(0.25, 1.2))
    fov = float(rng.uniform(0.55, 1.0))
    half = reach * np.tan(fov / 2)
    world.card((0, 0, 0), (8 * reach, 8 * reach), palette.pick("fabric", "fabric", "paint", "wood", "printed", "dark"))
    backdrop = palette.pick("fabric", "fabric", "wall", "paint", "dark", "panels", "printed", "books")
    world.box((0, far + 0.1, reach), (8 * reach, 0.2, 3 * reach), backdrop, turn(float(rng.normal(0, 0.25))))
    cloth = palette.fabric()
    for _ in range(int(rng.integers(0, 6))):  # cushions and folds
        world.ball(
            (float(rng.normal(0, 0.7)) * half, far - float(rng.uniform(0, 0.3)) * reach, float(rng.uniform(0, 0.5)) * half),
            tuple(float(v) * half for v in (rng.uniform(0.25, 0.7), rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.5))),
            cloth if rng.random() < 0.4 else palette.fabric(),
            rotation=turn(*(float(v) for v in rng.normal(0, 0.5, 3))),
        )  # fmt: skip
    base = 0.0
    if rng.random() < 0.6:  # a crate along the bottom edge, or a cushion seat
        base = half * float(rng.uniform(0.1, 0.4))
        near, deep = -reach * float(rng.uniform(0.15, 0.45)), reach * float(rng.uniform(0.1, 0.4))
        wide = half * float(rng.uniform(0.4, 1.6))
        crate = palette.pick("cardboard", "printed", "wood", "fabric", "paint")
        x = float(rng.normal(0, 0.5)) * half
        world.box((x, near, base / 2), (wide, deep, base), crate, turn(float(rng.normal(0, 0.25))))
        if rng.random() < 0.6:
            with world.at(x, near, base):
                scatter(
                    world, palette, rng, (wide * 0.7, deep * 0.7), int(rng.integers(1, 4)), (0.2 * half, 0.7 * half)
                )
    for side in (-1, 1):  # boards and boxes cut by the picture's edges, some very near
        if rng.random() < 0.55:
            y = reach * float(rng.uniform(-0.6, 0.25))
            x = side * half * (reach + y) / reach * float(rng.uniform(0.8, 1.05))
            thick = half * float(rng.uniform(0.05, 0.5))
            board = palette.pick("white", "wood", "printed", "cardboard", "paint", "fabric")
            world.box(
                (x + side * thick / 2, y, half), (thick, 0.3 * reach, 3 * half), board, turn(float(rng.normal(0, 0.3)))
            )
    for _ in range(int(rng.integers(2, 7))):
        y = float(rng.uniform(-0.35, 0.9)) * far
        x = float(rng.uniform(-0.8, 0.8)) * half * (reach + y) / reach
        lift = float(rng.uniform(0, 0.4)) * half if rng.random() < 0.5 else 0.0
        if lift > 0:
            world.box(
                (x, y, lift / 2), (0.5 * half, 0.4 * half, lift), palette.pick("cardboard", "wood", "white", "fabric")
            )
        with world.at(x, y, lift, float(rng.uniform(0, 6.3))):
            _large(world, palette, rng, half * float(rng.uniform(0.35, 1.1)))
    pitch = float(rng.uniform(-0.05, 0.45))
    height = 0.35 * half + base * 0.5 + reach * np.sin(pitch)
    scene.camera = Viewpoint.looking_at(
        (float(rng.normal(0, 0.12)) * reach, -reach * np.cos(pitch), max(0.1, height)),
        (float(rng.normal(0, 0.05)) * reach, 0.0, half * float(rng.uniform(0.3, 0.7))),
        float(rng.normal(0, 0.03)),
        fov,
    )
    scene.light = _desk_light(rng, reach)
    scene.look.aperture, scene.look.focus = (0.006, reach) if rng.random() < 0.3 else (0.0, None)
    scene.near = 0.15
    return scene


def _large(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """Something that fills a part of the picture: a bust, an arch, a toy, a vase, a carton, a heap of rods."""
    roll = rng.random()
    if roll < 0.18:  # a bust
        stuff = palette.pick("skin", "white", "marble", "paint", "wood")
        world.tube((0, 0, 0), (0, 0, size * 0.35), size * 0.2, stuff, size * 0.16)
        world.ball((0, 0, size * 0.62), (size * 0.27, size * 0.33, size * 0.38), stuff)
        world.ball((0, -size * 0.33, size * 0.58), size * 0.06, stuff)
    elif roll < 0.36:  # an arch or a hoop: head phones, handles, hoses
        stuff, thick = palette.pick("paint", "white", "wood", "metal", "dark"), size * float(rng.uniform(0.02, 0.08))
        angles = np.linspace(0, np.pi, 9)
        points = [(size * 0.6 * np.cos(a), 0.0, size * (0.1 + 0.9 * np.sin(a))) for a in angles]
        for a, b in pairwise(points):
            world.capsule(a, b, thick, stuff)
    elif roll < 0.5:  # a hose wandering over the ground
        stuff, heading, here = palette.pick("paint", "dark", "white"), rng.uniform(0, 6.3), np.zeros(3)
        for _ in range(9):
            heading += rng.normal(0, 0.7)
            there = here + np.array([np.cos(heading), np.sin(heading), float(rng.normal(0.05, 0.15))]) * size * 0.2
            there[2] = max(there[2], 0.0)
            world.capsule(here, there, size * 0.03, stuff)
            here = there
    elif roll < 0.7:
        (figure if rng.random() < 0.6 else turned)(world, palette, rng, size)
    elif roll < 0.85:
        carton(world, palette, rng, size)
    else:
        SMALL[int(rng.integers(len(SMALL)))](world, palette, rng, size * 0.8)
