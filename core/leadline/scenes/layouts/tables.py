"""Close range: table tops from above and at an angle, compositions of objects, insides of shelf bins and boxes.

The table's surface is z = 0 here; the floor lies below it.
"""

from __future__ import annotations

import numpy as np

from .. import furniture as f
from ..camera import Viewpoint
from ..palette import Palette
from ..scene import Light, Scene
from ..things import SMALL, basket, bottle, carton, figure, scatter, turned
from ..world import World, turn

Rng = np.random.Generator


def _desk_light(rng: Rng, span: float) -> Light:
    warm = float(rng.uniform(0.6, 1.0))
    ambient = float(rng.uniform(0.12, 0.6))
    place = (float(rng.normal(0, 0.9)) * span, float(rng.normal(0, 0.9)) * span, float(rng.uniform(1.0, 2.2)) * span)
    return Light(
        place,
        False,
        (1.0, 0.6 + 0.4 * warm, 0.3 + 0.7 * warm),
        float(rng.uniform(0.6, 3.2)) * max(span, 0.5),
        float(rng.uniform(0.02, 0.12)) * span,
        (ambient, ambient * 0.98, ambient * 0.95),
        (ambient * 0.6, ambient * 0.57, ambient * 0.52),
        [((float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5)), 1.0), (0.4, 0.45, 0.5), 1.0)]
        if rng.random() < 0.5
        else [],
        zenith=(0.7, 0.7, 0.7),
        horizon=(0.8, 0.8, 0.8),
        cloud=0.0,
    )


def _top(palette: Palette) -> int:
    return palette.pick(
        "wood", "wood", "white", "paint", "paint", "fabric", "marble", "dark", "perforated", "printed", "concrete"
    )


def _robot(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """The foot and first links of a robot arm."""
    shell, joint = palette.pick("white", "metal", "paint"), palette.pick("dark", "metal", "paint")
    world.box((0, 0, 0.01 * size), (size * 0.9, size * 0.9, size * 0.04), palette.metal())
    world.tube((0, 0, 0), (0, 0, size * 0.45), size * 0.28, shell, size * 0.24)
    world.tube((0, 0, size * 0.45), (0, 0, size * 0.6), size * 0.27, joint)
    elbow = np.array([rng.normal(0, 0.4), rng.normal(0, 0.4), 1.3]) * size
    world.capsule((0, 0, size * 0.6), elbow, size * 0.18, shell)
    world.capsule(
        elbow, elbow + np.array([rng.normal(0, 0.7), rng.normal(0, 0.7), rng.normal(0, 0.3)]) * size, size * 0.14, shell
    )


def _backdrop(world: World, palette: Palette, rng: Rng, drop: float, far: float) -> None:
    """Floor, walls and some furniture behind the table."""
    world.card((0, 0, -drop), (14, 14), palette.floor())
    wall = palette.wall()
    world.box((0, far + 0.05, 0.5), (14, 0.1, 6), wall)
    side = float(rng.choice([-1, 1])) * float(rng.uniform(1.2, 4))
    if rng.random() < 0.5:
        world.box((side, far / 2, 0.5), (0.1, 14, 6), wall)
    pieces = (f.CHAIR, f.CHAIR, f.CHAIR, f.CABINET, f.SHELF, f.SOFA, f.BOXES, f.PLANT, f.PERSON)
    for _ in range(int(rng.integers(0, 4))):
        piece = pieces[int(rng.integers(len(pieces)))]
        w, d, h = piece.draw(rng)
        y = far - 0.02 if piece.wall else float(rng.uniform(0.5, 0.95)) * far
        with world.at(
            float(rng.uniform(-1.2, 1.2)), max(y, 0.9), -drop, 0 if piece.wall else float(rng.uniform(0, 6.3))
        ):
            piece.build(world, palette, rng, w, d, h)


def _slab(world: World, palette: Palette, rng: Rng, w: float, d: float, drop: float) -> None:
    """The table itself, its surface at z = 0."""
    top, leg = _top(palette), palette.pick("wood", "metal", "dark")
    world.box((0, 0, -0.02), (w, d, 0.04), top)
    for x in (-w / 2 + 0.06, w / 2 - 0.06):
        for y in (-d / 2 + 0.06, d / 2 - 0.06):
            world.box((x, y, -drop / 2), (0.06, 0.06, drop), leg)
    if rng.random() < 0.25:
        world.box(
            (float(rng.uniform(-0.2, 0.2)), 0, 0.002),
            (w * float(rng.uniform(0.3, 0.7)), d * float(rng.uniform(0.4, 0.9)), 0.004),
            palette.pick("fabric", "printed", "paint"),
            turn(float(rng.normal(0, 0.3))),
        )


def table_above(rng: Rng, aspect: float) -> Scene:
    """A robot's or cook's view straight down or steeply onto a cluttered table; edges, machine plates, robot feet."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    w, d, drop = float(rng.uniform(0.5, 2.4)), float(rng.uniform(0.5, 1.8)), float(rng.uniform(0.3, 0.8))
    _slab(world, palette, rng, w, d, drop)
    world.card((0, 0, -drop), (10, 10), palette.floor())
    if rng.random() < 0.5:  # a second, different plate beside it
        side = float(rng.choice([-1, 1]))
        world.box(
            (side * (w / 2 + 0.4), 0, -0.03 + float(rng.uniform(-0.05, 0.06))),
            (0.78, d * 1.5, 0.06),
            palette.pick("metal", "perforated", "white", "dark"),
        )
    height = float(rng.uniform(0.35, 1.3))
    fov = float(rng.uniform(0.8, 1.25))
    view = 2 * height * np.tan(fov / 2)
    small = float(rng.uniform(0.12, 0.26)) * view
    scatter(
        world,
        palette,
        rng,
        (min(w, view), min(d, view / aspect)),
        int(rng.integers(5, 18)),
        (small * 0.5, min(small * 1.5, height * 0.45)),
        SMALL,
        gap=0.36,
    )
    if rng.random() < 0.3:
        angle = float(rng.uniform(0, 6.3))
        with world.at(np.cos(angle) * view * 0.5, np.sin(angle) * view * 0.4):
            _robot(world, palette, rng, min(0.25, height * 0.4))
    if rng.random() < 0.2:
        with world.at(float(rng.normal(0, 0.15)) * view, float(rng.normal(0, 0.1)) * view):
            basket(world, palette, rng, min(0.35, height * 0.5))
    tilt = float(abs(rng.normal(0, 0.35)))
    aim = (float(rng.normal(0, 0.1)) * w, float(rng.normal(0, 0.1)) * d, 0.0)
    eye = (aim[0] + float(rng.normal(0, 0.05)), aim[1] - height * np.sin(tilt) - 1e-3, height * np.cos(tilt))
    scene.camera = Viewpoint.looking_at(eye, aim, float(rng.normal(0, 0.05)), fov)
    if rng.random() < 0.4:
        scene.camera.yaw += float(rng.uniform(0, 6.3)) if tilt < 0.15 else 0.0
    scene.light = _desk_light(rng, max(height, 0.6))
    scene.look.aperture = float(rng.choice([0, 0, 0.006]))
    scene.near = 0.12
    return scene


def table_oblique(rng: Rng, aspect: float) -> Scene:
    """Objects on a table seen at an angle by someone sitting or standing at it; chairs, walls and floor behind."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    w, d, drop = float(rng.uniform(0.8, 2.2)), float(rng.uniform(0.6, 1.2)), float(rng.uniform(0.68, 0.8))
    _slab(world, palette, rng, w, d, drop)
    _backdrop(world, palette, rng, drop, float(rng.uniform(0.8, 3.5)))
    reach = float(rng.uniform(0.45, 1.4))
    scatter(
        world,
        palette,
        rng,
        (min(w, reach * 1.1), min(d, reach * 0.9)),
        int(rng.integers(3, 12)),
        (reach * 0.1, reach * 0.32),
        SMALL,
        gap=0.38,
    )
    pitch = float(rng.uniform(0.15, 1.0))
    aim = (float(rng.normal(0, 0.08)), float(rng.normal(0.0, 0.08)), float(rng.uniform(0, 0.12)))
    swing = float(rng.normal(0, 0.5))
    eye = (
        aim[0] + reach * np.cos(pitch) * np.sin(swing),
        aim[1] - reach * np.cos(pitch) * np.cos(swing),
        aim[2] + reach * np.sin(pitch),
    )
    scene.camera = Viewpoint.looking_at(eye, aim, float(rng.normal(0, 0.04)), float(rng.uniform(0.75, 1.2)))
    scene.light = _desk_light(rng, 1.2)
    scene.look.aperture = float(rng.choice([0, 0, 0.004, 0.01]))
    scene.near = 0.15
    return scene


def closeup(rng: Rng, aspect: float) -> Scene:
    """A still life: a few large objects on cloth, cushions or a board, in front of panels; or rows of turned pieces."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    base = palette.pick("fabric", "fabric", "wood", "paint", "printed", "grass")
    world.card((0, 0, 0), (6, 6), base)
    far = float(rng.uniform(0.5, 1.8))
    world.box((0, far + 0.1, 1), (6, 0.2, 3), palette.pick("fabric", "wall", "wood", "paint", "white", "dark", "books"))
    if rng.random() < 0.5:  # cushions and folds
        for _ in range(int(rng.integers(2, 6))):
            world.ball(
                (float(rng.normal(0, 0.6)), far - float(rng.uniform(0, 0.35)), float(rng.uniform(0, 0.4))),
                (float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.1, 0.25)), float(rng.uniform(0.15, 0.4))),
                palette.fabric(),
                rotation=turn(float(rng.normal(0, 0.5)), float(rng.normal(0, 0.4)), float(rng.normal(0, 0.5))),
            )
    for _ in range(int(rng.integers(0, 3))):  # boards standing at the sides
        side = float(rng.choice([-1, 1]))
        world.box(
            (side * float(rng.uniform(0.35, 0.8)), float(rng.uniform(-0.2, 0.6)) * far, 0.4),
            (0.03 if rng.random() < 0.5 else 0.4, 0.4, 1.2),
            palette.pick("white", "wood", "printed", "cardboard", "paint"),
            turn(float(rng.normal(0, 0.4))),
        )
    reach = float(rng.uniform(0.6, 1.3))
    if rng.random() < 0.25:  # chess men, bottles, candles in rows
        first, second = rng.bit_generator.random_raw(2)
        step = reach * float(rng.uniform(0.12, 0.2))
        for i in range(int(rng.integers(3, 7))):
            for k in range(int(rng.integers(1, 4))):
                own = np.random.default_rng(int(first if k % 2 else second))
                with world.at((k - 1) * step * 1.1 + float(rng.normal(0, 0.01)) + i * step * 0.35, (i - 2) * step, 0):
                    (turned if first % 3 else bottle)(world, palette, own, step * float(rng.uniform(1.2, 1.9)))
    else:
        scatter(
            world,
            palette,
            rng,
            (reach * 0.9, reach * 0.7),
            int(rng.integers(2, 8)),
            (reach * 0.18, reach * 0.5),
            (*SMALL, figure, figure, turned, carton),
            gap=0.36,
        )
    pitch = float(rng.uniform(0.03, 0.7))
    eye = (float(rng.normal(0, 0.15)), -reach * np.cos(pitch), 0.12 + reach * np.sin(pitch))
    scene.camera = Viewpoint.looking_at(
        eye,
        (float(rng.normal(0, 0.05)), 0.1, float(rng.uniform(0.05, 0.2))),
        float(rng.normal(0, 0.03)),
        float(rng.uniform(0.6, 1.05)),
    )
    scene.light = _desk_light(rng, 1.0)
    scene.look.aperture, scene.look.focus = (
        (float(rng.uniform(0.003, 0.02)), reach) if rng.random() < 0.5 else (0.0, None)
    )
    scene.near = 0.15
    return scene


def shelf_bin(rng: Rng, aspect: float) -> Scene:
    """Into an open carton, drawer, crate or shelf compartment holding products, from 0.25 to 1.4 m."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    w, d, h = float(rng.uniform(0.22, 0.6)), float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.16, 0.4))
    wall = float(rng.uniform(0.004, 0.02))
    shell = palette.pick("cardboard", "cardboard", "white", "wood", "metal", "dark", "paint")
    inner = shell if rng.random() < 0.6 else palette.pick("dark", "cardboard", "white")
    world.card((0, 0, -0.002), (5, 5), _top(palette))
    if rng.random() < 0.5:
        world.box((0, d / 2 + float(rng.uniform(0.4, 1.5)), 0.6), (6, 0.1, 3), palette.wall())
    yaw = float(rng.normal(0, 0.35))
    compartments = int(rng.choice([1, 1, 2, 3])) if rng.random() < 0.4 else 1
    with world.at(0, 0, 0, yaw):
        for k in range(compartments):
            z = k * h
            for s in (-1, 1):
                world.box((s * w / 2, 0, z + h / 2), (wall, d, h), shell)
            world.box((0, d / 2, z + h / 2), (w, wall, h), inner)
            world.box((0, 0, z + wall / 2), (w, d, wall), inner)
            if rng.random() < 0.85:
                world.box((0, 0, z + h), (w + wall, d, wall), shell)
            if rng.random() < 0.6:
                lip = h * float(rng.uniform(0.1, 0.3))
                world.box(
                    (0, -d / 2, z + lip / 2),
                    (w, wall, lip),
                    palette.pick("cardboard", "metal", "paint") if rng.random() < 0.4 else shell,
                )
            with world.at(0, 0, z + wall):
                scatter(
                    world,
                    palette,
                    rng,
                    (w * 0.85, d * 0.85),
                    int(rng.integers(2, 8)),
                    (h * 0.25, h * 0.85),
                    SMALL,
                    gap=0.3,
                )
        if compartments == 1 and rng.random() < 0.4:  # flaps
            world.box((0, -d / 2 - 0.08, h * 0.02), (w, 0.16, wall), shell)
            for s in (-1, 1):
                world.box((s * (w / 2 + 0.06), -d / 2 - 0.02, h / 2), (0.13, wall, h), shell, turn(s * 0.5))
    with world.at(float(rng.choice([-1, 1])) * (w + 0.1), float(rng.uniform(-0.2, 0.4))):
        scatter(world, palette, rng, (0.4, 0.5), int(rng.integers(0, 5)), (0.08, 0.25), SMALL)
    reach = float(rng.uniform(0.25, 0.6)) + 0.3 * w + d / 2
    pitch = float(rng.uniform(-0.1, 0.6))
    middle = float(rng.uniform(0.3, 0.7)) * h * compartments
    swing = float(rng.normal(0, 0.3)) + yaw
    eye = (reach * np.sin(swing), -reach * np.cos(pitch) * np.cos(swing), max(0.05, middle + reach * np.sin(pitch)))
    scene.camera = Viewpoint.looking_at(
        eye, (float(rng.normal(0, 0.03)), 0.0, middle), float(rng.normal(0, 0.08)), float(rng.uniform(0.8, 1.2))
    )
    scene.light = _desk_light(rng, 1.0)
    scene.near = 0.12
    return scene
