"""Places that face the camera: yards before a building, and seating groups before the wall of a living room.

Both are drawn by name only, as the crowded and the close places are.
"""

from __future__ import annotations

import numpy as np

from .. import furniture as f
from ..camera import Viewpoint
from ..palette import Palette
from ..scene import Scene
from ..things import ON_FURNITURE, SMALL, plant, scatter
from ..world import World
from .outdoors import bench, bicycle, bin_, bush, car, daylight, hedge, pole, tree
from .rooms import _hang, _shell, _sunlit, _wall_light

Rng = np.random.Generator


def yard(rng: Rng, aspect: float) -> Scene:
    """A paved yard with a building across it: glass, cladding and creepers, wings towards the camera, shadows of trees."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    ground = palette.pick("paving", "paving", "paving", "concrete", "earth", "grass")
    world.card((0, 60, 0), (400, 400), ground)
    far = float(np.exp(rng.uniform(np.log(6), np.log(30))))
    leaf = palette.leaf()
    _fronts(world, palette, rng, far, leaf)
    for side in (-1, 1):
        if rng.random() < 0.35:
            _wing(world, palette, rng, side, far)
    _along_the_foot(world, palette, rng, far, leaf)
    _standing_about(world, palette, rng, far, leaf)
    _behind(world, palette, rng, leaf)
    yaw = float(rng.normal(0, 0.3))
    eye = (0.0, 0.0, float(rng.uniform(1.2, 2.0)))
    scene.camera = Viewpoint(
        eye, yaw, float(rng.normal(0.0, 0.07)), float(rng.normal(0, 0.02)), float(rng.uniform(0.75, 1.35))
    )
    scene.light = daylight(rng, yaw)
    scene.near = 0.8
    return scene


def _fronts(world: World, palette: Palette, rng: Rng, far: float, leaf: int) -> None:
    """The building from left to right, part by part; each part a little nearer or farther."""
    x, end = -1.6 * far - 4, 1.6 * far + 4
    high = float(rng.uniform(3.0, 16.0))
    makers = (_cladding, _cladding, _glazing, _glazing, _canopy, _creeper, _arcade)
    while x < end:
        w = float(rng.uniform(2.5, 14))
        tall = high * float(rng.uniform(0.7, 1.2))
        with world.at(x + w / 2, far + float(rng.choice([0, 0, 1])) * float(rng.uniform(-1.0, 3.0))):
            makers[int(rng.integers(len(makers)))](world, palette, rng, w, tall, leaf)
        x += w + (float(rng.uniform(1.0, 4.0)) if rng.random() < 0.12 else 0.0)
    if rng.random() < 0.5:  # what stands behind
        world.box(
            (float(rng.normal(0, 10)), far + 25, high), (float(rng.uniform(20, 60)), 10, high * 2), palette.facade()
        )


def _cladding(world: World, palette: Palette, rng: Rng, w: float, h: float, leaf: int) -> None:
    """A closed wall of tiles, bricks or boards, or one with painted windows; a door or a gutter on it."""
    world.box((0, 4, h / 2), (w, 8, h), palette.pick("outside_wall", "outside_wall", "facade", "concrete", "panels"))
    if rng.random() < 0.5:
        world.box((0, -0.1, 0.3), (w, 0.2, 0.6), palette.pick("concrete", "outside_wall", "dark"))
    if rng.random() < 0.6:
        x = float(rng.uniform(-0.35, 0.35)) * w
        world.box(
            (x, -0.03, 1.1), (float(rng.uniform(0.9, 2.2)), 0.1, 2.2), palette.pick("wood", "glass", "paint", "dark")
        )
    if rng.random() < 0.3:
        world.tube((w / 2 - 0.2, -0.1, 0), (w / 2 - 0.2, -0.1, h), 0.06, palette.metal())


def _glazing(world: World, palette: Palette, rng: Rng, w: float, h: float, leaf: int) -> None:
    """A glass front in bars, with the room behind it as a dark recess or reflecting."""
    pane = palette.pick("glass", "glass", "dark", "window")
    bar = palette.pick("metal", "white", "dark", "wood")
    world.box((0, 4, h / 2), (w, 8, h), pane)
    thick = float(rng.uniform(0.04, 0.14))
    for x in np.arange(-w / 2, w / 2 + 0.01, float(rng.uniform(0.8, 2.2))):
        world.box((x, -0.06, h / 2), (thick, 0.12, h), bar)
    for z in np.arange(0.1, h, float(rng.uniform(0.9, 2.8))):
        world.box((0, -0.05, z), (w, 0.1, thick), bar)


def _canopy(world: World, palette: Palette, rng: Rng, w: float, h: float, leaf: int) -> None:
    """A roof on posts before a set-back wall."""
    deep, z = float(rng.uniform(1.5, 5)), min(h, float(rng.uniform(2.4, 4.5)))
    world.box((0, deep + 2, h / 2), (w, 4, h), palette.pick("glass", "outside_wall", "facade", "dark"))
    world.box((0, deep / 2, z), (w, deep, 0.25), palette.pick("white", "metal", "wood", "concrete"))
    post = palette.pick("white", "metal", "concrete", "dark")
    for x in np.arange(-w / 2 + 0.2, w / 2, float(rng.uniform(1.8, 4.5))):
        world.tube((x, 0.1, 0), (x, 0.1, z), float(rng.uniform(0.04, 0.12)), post)


def _creeper(world: World, palette: Palette, rng: Rng, w: float, h: float, leaf: int) -> None:
    """A wall or fence grown over with leaves."""
    tall = min(h, float(rng.uniform(1.8, 7)))
    world.box((0, 4, h / 2), (w, 8, h), palette.outside_wall())
    world.box((0, -0.15, tall / 2), (w, 0.3, tall), leaf)
    for _ in range(int(rng.integers(3, 9))):
        r = float(rng.uniform(0.5, 1.2))
        x, z = float(rng.uniform(-0.5, 0.5)) * w, float(rng.uniform(0.2, 1.0)) * tall
        world.leaves((x, -0.3, z), (r, 0.35, r), leaf, 0.7, 4.0)


def _arcade(world: World, palette: Palette, rng: Rng, w: float, h: float, leaf: int) -> None:
    """Piers with dark bays between them."""
    stone = palette.pick("concrete", "outside_wall", "marble", "white")
    bay, z = float(rng.uniform(1.6, 3.5)), min(h * 0.8, float(rng.uniform(2.5, 4.5)))
    world.box((0, 5, h / 2), (w, 6, h), palette.pick("dark", "glass", "facade"))
    world.box((0, 1, (z + h) / 2), (w, 2, h - z), stone)
    for x in np.arange(-w / 2, w / 2 + 0.01, bay):
        world.box((x, 0.3, z / 2), (bay * float(rng.uniform(0.15, 0.4)), 0.6, z), stone)


def _wing(world: World, palette: Palette, rng: Rng, side: int, far: float) -> None:
    """A part of the building, a hedge or a fence that comes towards the camera along one side."""
    x, long, tall = (
        side * far * float(rng.uniform(0.45, 0.9)),
        far * float(rng.uniform(0.3, 0.85)),
        float(rng.uniform(1, 9)),
    )
    kind = rng.random()
    if kind < 0.55:
        stuff = palette.pick("outside_wall", "facade", "concrete", "glass")
        world.box((x + side * 3, far - long / 2, tall / 2), (6, long, tall), stuff)
    elif kind < 0.8:
        with world.at(x, far - long):
            hedge(world, palette, rng, long, min(tall, 2.5))
    else:
        rail = palette.pick("metal", "wood", "dark", "white")
        for y in np.arange(far - long, far, 1.2):
            world.box((x, float(y), 0.6), (0.08, 0.08, 1.2), rail)
        for z in (0.3, 0.75, 1.15):
            world.box((x, far - long / 2, z), (0.04, long, 0.08), rail)


def _along_the_foot(world: World, palette: Palette, rng: Rng, far: float, leaf: int) -> None:
    """Beds of bushes and racks of bicycles before the wall."""
    for _ in range(int(rng.integers(1, 5))):
        x, y = float(rng.uniform(-1.0, 1.0)) * far, far - float(rng.uniform(0.4, 2.5))
        kind = rng.random()
        if kind < 0.5:
            size = float(rng.uniform(0.6, 3.0))
            for k in range(int(rng.integers(1, 5))):
                with world.at(x + k * size * 0.6, y + float(rng.normal(0, 0.2))):
                    bush(world, palette, rng, size * float(rng.uniform(0.7, 1.2)), leaf)
        elif kind < 0.85:
            along = rng.random() < 0.3
            for k in range(int(rng.integers(3, 10))):
                turned = 0.0 if along else np.pi / 2 + float(rng.normal(0, 0.1))
                with world.at(x + (1.9 if along else 0.55) * k, y - 0.8, 0, turned):
                    bicycle(world, palette, rng)
        else:
            stone = palette.concrete()
            world.box((x, y, 0.25), (float(rng.uniform(2, 8)), 1.2, 0.5), stone)
            with world.at(x, y, 0.5):
                bush(world, palette, rng, 0.8, leaf)


def _standing_about(world: World, palette: Palette, rng: Rng, far: float, leaf: int) -> None:
    """People, trees, posts and bins at every distance, the near ones beside the middle of the picture."""
    makers = ("person", "person", "tree", "pole", "bin", "bin", "bench", "bush", "car")
    for _ in range(int(rng.integers(2, 10))):
        away = far * float(rng.uniform(0.25, 0.9))
        x = float(rng.uniform(-0.75, 0.75)) * away
        if away < 0.4 * far:
            x = float(np.sign(x)) * max(abs(x), 0.3 * away)
        with world.at(x, away, 0, float(rng.choice([0, np.pi / 2])) + float(rng.normal(0, 0.3))):
            match makers[int(rng.integers(len(makers)))]:
                case "person":
                    f.person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
                case "tree":
                    tree(world, palette, rng, float(rng.uniform(4, 10)), leaf)
                case "pole":
                    pole(world, palette, rng, float(rng.uniform(2.2, 6)))
                case "bin":
                    bin_(world, palette, rng)
                case "bench":
                    bench(world, palette, rng)
                case "bush":
                    bush(world, palette, rng, float(rng.uniform(0.5, 1.8)), leaf)
                case "car":
                    car(world, palette, rng)


def _behind(world: World, palette: Palette, rng: Rng, leaf: int) -> None:
    """Trees behind and beside the camera, which are seen by their shadows."""
    for _ in range(int(rng.integers(0, 5))):
        with world.at(float(rng.normal(0, 7)), -float(rng.uniform(2, 9))):
            tree(world, palette, rng, float(rng.uniform(5, 12)), leaf)


def lounge(rng: Rng, aspect: float) -> Scene:
    """Sofas, armchairs and stools round a low table, near pieces cut by the picture's edge, before a wall with an arch."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    w, length, h = float(rng.uniform(3.0, 6.5)), float(rng.uniform(2.6, 6.0)), float(rng.uniform(2.3, 3.4))
    _shell(world, palette, rng, w, length, h)
    _hang(world, palette, rng, w, length, h)
    if rng.random() < 0.5:
        _recess(world, palette, rng, w, length, h)
    middle = float(rng.uniform(-0.15, 0.15)) * w
    depth = length * float(rng.uniform(0.35, 0.6))
    _seating(world, palette, rng, middle, depth, length, w)
    eye = (
        middle + float(rng.uniform(-0.25, 0.25)) * w,
        depth - float(rng.uniform(1.3, 2.8)),
        float(np.clip(rng.normal(1.35, 0.2), 0.8, h - 0.4)),
    )
    if rng.random() < 0.6:  # a piece close to the camera, at the side
        side = float(rng.choice([-1, 1]))
        x, y = eye[0] + side * float(rng.uniform(0.7, 1.2)), eye[1] + float(rng.uniform(0.9, 1.6))
        piece = (f.ARMCHAIR, f.ARMCHAIR, f.TABLE, f.STOOL, f.CHAIR)[int(rng.integers(5))]
        with world.at(x, y, 0, float(rng.uniform(0, 6.3))):
            piece.build(world, palette, rng, *piece.draw(rng))
    target = (middle + float(rng.uniform(-0.2, 0.2)) * w, length, float(np.clip(rng.normal(0.8, 0.25), 0.2, 1.6)))
    scene.camera = Viewpoint.looking_at(eye, target, float(rng.normal(0, 0.02)), float(rng.uniform(0.85, 1.2)))
    scene.light = _wall_light(rng, w, length, h, True)
    if rng.random() < 0.25:
        _sunlit(scene.light, rng, w, length, h)
    scene.near = 0.35
    return scene


def _recess(world: World, palette: Palette, rng: Rng, w: float, length: float, h: float) -> None:
    """A doorway, niche or mirror in the far wall: a darker field in a frame, round at the top or square."""
    x, wide = float(rng.uniform(-0.4, 0.4)) * w, float(rng.uniform(0.5, 1.3))
    foot, top = float(rng.choice([0.0, 0.0, 0.9])), min(h - 0.2, float(rng.uniform(1.8, 2.3)))
    inside, frame = palette.pick("dark", "wall", "glass", "wood"), palette.pick("white", "wood", "dark", "wall")
    for grow, out, stuff in ((0.1, 0.02, frame), (0.0, 0.03, inside)):
        world.box((x, length - out / 2, (foot + top) / 2), (wide + grow, out, top - foot), stuff)
        if rng.random() < 0.5:
            world.tube((x, length, top), (x, length - out, top), (wide + grow) / 2, stuff)


def _seating(world: World, palette: Palette, rng: Rng, middle: float, depth: float, length: float, w: float) -> None:
    """A sofa at the back, a low table before it, armchairs and stools at its ends, a lamp or a plant in the corners."""
    back = length - float(rng.choice([0.05, 0.05, rng.uniform(0.1, 0.8)]))
    with world.at(middle + float(rng.normal(0, 0.2)), back, 0, float(rng.normal(0, 0.05))):
        f.SOFA.build(world, palette, rng, *f.SOFA.draw(rng))
    if rng.random() < 0.8:
        wide, deep, tall = float(rng.uniform(0.6, 1.4)), float(rng.uniform(0.45, 0.8)), float(rng.uniform(0.35, 0.5))
        with world.at(middle + float(rng.normal(0, 0.5)), depth + deep / 2, 0, float(rng.normal(0, 0.25))):
            f.table(world, palette, rng, wide, deep, tall)
    for side in (-1, 1):
        reach = float(rng.uniform(0.9, 1.6))
        if rng.random() < 0.8:
            facing = -side * float(rng.uniform(0.5, 1.7))
            with world.at(middle + side * reach, depth + float(rng.uniform(-0.3, 0.8)), 0, facing):
                piece = f.ARMCHAIR if rng.random() < 0.75 else f.SOFA
                piece.build(world, palette, rng, *piece.draw(rng))
        if rng.random() < 0.4:
            place = (middle + side * reach * float(rng.uniform(0.3, 0.7)), depth - float(rng.uniform(0.2, 0.7)))
            with world.at(*place, 0, float(rng.uniform(0, 6.3))):
                f.STOOL.build(world, palette, rng, *f.STOOL.draw(rng))
        if rng.random() < 0.5:
            with world.at(side * (w / 2 - 0.4), back - 0.3):
                corner = rng.random()
                if corner < 0.4:
                    f.LAMP.build(world, palette, rng, *f.LAMP.draw(rng))
                elif corner < 0.7:
                    plant(world, palette, rng, float(rng.uniform(0.5, 1.5)))
                else:
                    f.CABINET.build(world, palette, rng, *f.CABINET.draw(rng))
    with world.at(middle, depth):
        scatter(world, palette, rng, (w * 0.6, 1.2), int(rng.integers(0, 4)), (0.08, 0.35), (*SMALL, *ON_FURNITURE))
