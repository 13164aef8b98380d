"""Rooms fitted out for one purpose: bathrooms, kitchens, classrooms, shops, places to work at a screen.

All are drawn by name only. Pieces stand in the frame of their wall: back at y = 0, front towards −y.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .. import fixtures
from .. import furniture as f
from ..camera import Viewpoint
from ..palette import Palette
from ..patterns import Pattern
from ..scene import Scene
from ..things import (
    ON_FURNITURE,
    SMALL,
    basket,
    books,
    bottle,
    cable,
    can,
    carton,
    lamp,
    laptop,
    mug,
    plant,
    scatter,
    sheet,
)
from ..world import World
from .rooms import _hang, _shell, _standing, _sunlit, _wall_light

Rng = np.random.Generator


def bathroom(rng: Rng, aspect: float) -> Scene:
    """A small tiled room with basin, mirror, toilet, bath or shower, towels and bottles."""
    w, length, h = float(rng.uniform(1.5, 3.2)), float(rng.uniform(1.5, 3.6)), float(rng.uniform(2.2, 2.8))
    scene, palette = _empty_room(rng, w, length, h)
    world = scene.world
    tile = _tiles(palette, rng)
    tall = float(rng.choice([1.2, 1.5, 2.0, h]))
    for side in (-1, 0, 1):
        if rng.random() < 0.8:
            with _wall(world, side, w, length):
                span = w if side == 0 else 2 * length + 3
                world.box((0, -0.005, tall / 2), (span, 0.01, tall), tile)
    free = [-1, 0, 0, 1]
    rng.shuffle(free)
    for build, side in zip((fixtures.basin, fixtures.toilet, fixtures.bath, fixtures.shower), free, strict=False):
        if rng.random() < 0.85:
            offset = float(rng.uniform(-0.32, 0.32)) * w if side == 0 else length * float(rng.uniform(-0.1, 0.35))
            with _wall(world, side, w, length, offset):
                build(world, palette, rng, h)
    for side in (-1, 0, 1):
        if rng.random() < 0.5:
            with _wall(world, side, w, length, float(rng.uniform(-0.3, 0.3)) * (w if side == 0 else length)):
                fixtures.towel(world, palette, rng)
    with world.at(0, length / 2):
        scatter(world, palette, rng, (w * 0.7, length * 0.8), int(rng.integers(0, 4)), (0.1, 0.4), (basket, *SMALL))
    _look(scene, rng, w, length, h)
    return scene


def kitchen(rng: Rng, aspect: float) -> Scene:
    """Counters along the walls under wall cupboards, cooker, fridge, sink, and a table or an island in the middle."""
    w, length, h = float(rng.uniform(2.0, 5.0)), float(rng.uniform(1.8, 5.0)), float(rng.uniform(2.3, 2.9))
    scene, palette = _empty_room(rng, w, length, h)
    world = scene.world
    if rng.random() < 0.5:
        _hang(world, palette, rng, w, length, h)
    front, top = palette.pick("wood", "white", "paint", "panels"), palette.pick("wood", "marble", "white", "dark")
    tile = _tiles(palette, rng)
    sides = [0] if rng.random() < 0.3 else [0, int(rng.choice([-1, 1]))] if rng.random() < 0.7 else [-1, 1]
    for side in sides:
        span = w if side == 0 else length
        with _wall(world, side, w, length, 0.0 if side == 0 else float(rng.uniform(0, 0.2)) * length):
            fixtures.units(world, palette, rng, span, h, front, top, tile)
    middle = rng.random()
    with world.at(float(rng.uniform(-0.15, 0.15)) * w, length * float(rng.uniform(0.5, 0.75))):
        if middle < 0.35:
            f.DINING.build(world, palette, rng, *f.DINING.draw(rng))
        elif middle < 0.55 and w > 3:
            fixtures.counter(world, palette, rng, float(rng.uniform(1.0, 2.0)), front, top)
    for _ in range(int(rng.integers(0, 4))):
        with world.at(
            float(rng.uniform(-0.35, 0.35)) * w, length * float(rng.uniform(0.3, 0.7)), 0, float(rng.uniform(0, 6.3))
        ):
            piece = (f.CHAIR, f.CHAIR, f.STOOL, f.PERSON)[int(rng.integers(4))]
            piece.build(world, palette, rng, *piece.draw(rng))
    _look(scene, rng, w, length, h)
    return scene


def classroom(rng: Rng, aspect: float) -> Scene:
    """Rows of tables and chairs before a board, or a meeting table with chairs round it; strip lights in a grid."""
    w, length, h = float(rng.uniform(4.5, 10)), float(rng.uniform(4, 11)), float(rng.uniform(2.5, 3.6))
    scene, palette = _empty_room(rng, w, length, h)
    world = scene.world
    _hang(world, palette, rng, w, length, h)
    with _wall(world, 0, w, length, float(rng.uniform(-0.15, 0.15)) * w):
        wide = w * float(rng.uniform(0.3, 0.7))
        world.box((0, -0.03, 1.5), (wide, 0.05, float(rng.uniform(0.9, 1.4))), palette.pick("white", "dark", "paint"))
    if rng.random() < 0.75:
        _rows(world, palette, rng, w, length)
    else:
        _meeting(world, palette, rng, w, length)
    if rng.random() < 0.6:
        shine = palette.lamp()
        for x in np.arange(-w / 2 + 1, w / 2, float(rng.uniform(1.5, 3))):
            for y in np.arange(0.5, length, float(rng.uniform(1.8, 3))):
                world.box((float(x), float(y), h - 0.01), (0.3, 1.2, 0.04), shine)
    for _ in range(int(rng.integers(0, 4))):
        with world.at(
            float(rng.uniform(-0.4, 0.4)) * w, length * float(rng.uniform(0.35, 0.95)), 0, float(rng.uniform(0, 6.3))
        ):
            f.person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
    _look(scene, rng, w, length, h)
    return scene


def shop(rng: Rng, aspect: float) -> Scene:
    """An aisle between shelves of goods that recede from the camera; bins and stands at their ends."""
    w, length, h = float(rng.uniform(1.6, 5.0)), float(rng.uniform(3, 12)), float(rng.uniform(2.4, 4.0))
    scene, palette = _empty_room(rng, w, length, h)
    world = scene.world
    tall, deep = min(h - 0.2, float(rng.uniform(1.3, 2.6))), float(rng.uniform(0.25, 0.5))
    for side in (-1, 1, 0):
        y = float(rng.uniform(0.2, 1.0))
        while side and y < length - 0.6:
            long = min(float(rng.uniform(0.9, 2.4)), length - y)
            with world.at(side * w / 2, y + long / 2, 0, -side * np.pi / 2):
                _goods(world, palette, rng, long, deep, tall)
            y += long + float(rng.choice([0, 0, 0.05, 0.9]))
    with _wall(world, 0, w, length):
        _goods(world, palette, rng, w * float(rng.uniform(0.4, 1.0)), deep, tall)
    for _ in range(int(rng.integers(0, 4))):
        x, y = float(rng.choice([-1, 1])) * (w / 2 - deep - 0.3), length * float(rng.uniform(0.3, 0.95))
        with world.at(x, y, 0, float(rng.uniform(0, 6.3))):
            piece = (f.BOXES, f.TABLE, f.PERSON, f.STOOL, f.ORNAMENT)[int(rng.integers(5))]
            piece.build(world, palette, rng, *piece.draw(rng))
    _look(scene, rng, max(w - 2 * deep, 1.0), length, h)
    return scene


def workplace(rng: Rng, aspect: float) -> Scene:
    """A desk from one to two metres: screens, keyboards, papers, mugs and cables before a wall or a partition."""
    w, length, h = float(rng.uniform(2.0, 5.0)), float(rng.uniform(1.6, 4.0)), float(rng.uniform(2.3, 3.2))
    scene, palette = _empty_room(rng, w, length, h)
    world = scene.world
    _hang(world, palette, rng, w, length, h)
    wide, deep, tall = float(rng.uniform(1.2, min(2.4, w))), float(rng.uniform(0.6, 0.9)), float(rng.uniform(0.68, 0.8))
    back = length - float(rng.choice([0.03, 0.03, rng.uniform(0.1, 1.2)]))
    middle = float(rng.uniform(-0.5, 0.5)) * max(w - wide, 0.0)
    with world.at(middle, back):
        _desk(world, palette, rng, wide, deep, tall)
        if back < length - 0.1 and rng.random() < 0.6:
            world.box((0, 0.02, 0.65), (wide, 0.04, float(rng.uniform(1.1, 1.5))), palette.pick("fabric", "paint"))
        with world.at(float(rng.uniform(-0.4, 0.4)) * wide, -deep - 0.3, 0, np.pi + float(rng.normal(0, 0.7))):
            if rng.random() < 0.6:
                f.chair(world, palette, rng, 0.48, 0.48, float(rng.uniform(0.85, 1.1)))
    for side in (-1, 1):
        if rng.random() < 0.5:
            with world.at(side * (w / 2 - 0.03), length * float(rng.uniform(0.5, 0.9)), 0, -side * np.pi / 2):
                piece = (f.SHELF, f.CABINET, f.DESK, f.PLANT)[int(rng.integers(4))]
                piece.build(world, palette, rng, *piece.draw(rng))
    away = float(rng.uniform(0.9, 2.2))
    eye = (
        middle + float(rng.normal(0, 0.45)),
        back - deep / 2 - away,
        float(np.clip(tall + rng.uniform(0.25, 0.9), 0.9, h - 0.3)),
    )
    target = (middle + float(rng.normal(0, 0.3)), back - deep / 2, tall + float(rng.uniform(-0.15, 0.3)))
    scene.camera = Viewpoint.looking_at(eye, target, float(rng.normal(0, 0.08)), float(rng.uniform(0.8, 1.15)))
    scene.light = _wall_light(rng, w, length, h, True)
    scene.look.aperture = float(rng.choice([0, 0, 0.004]))
    scene.near = 0.3
    return scene


def _empty_room(rng: Rng, w: float, length: float, h: float) -> tuple[Scene, Palette]:
    scene = Scene()
    palette = Palette(scene.materials, rng)
    _shell(scene.world, palette, rng, w, length, h)
    return scene, palette


@contextmanager
def _wall(world: World, side: int, w: float, length: float, offset: float = 0.0) -> Iterator[None]:
    """The frame of the far wall (0), the left (−1) or the right one (1); ``offset`` metres along it from its middle."""
    if side == 0:
        with world.at(offset, length - 0.01):
            yield
    else:
        with world.at(side * (w / 2 - 0.01), length / 2 + offset, 0, -side * np.pi / 2):
            yield


def _tiles(palette: Palette, rng: Rng) -> int:
    ground = palette.colour(0.25, 0.9, 0.35)
    joint = palette.near((0.5, 0.5, 0.5), 0.4)
    scale, gloss = float(rng.uniform(0.05, 0.35)), float(rng.choice([0.2, 0.5, 0.8]))
    pattern = Pattern.TILE if rng.random() < 0.8 else Pattern.CHECKER
    return palette.make(ground, palette.near(ground, 0.15), joint, pattern, scale=scale, gloss=gloss)


def _look(scene: Scene, rng: Rng, w: float, length: float, h: float) -> None:
    """Seen from the near end of the room by its lamp, sometimes with the sun in it."""
    scene.camera = _standing(rng, (w, length, h), behind=(-1.1, 0.2), height=(1.4, 0.25, 0.7), ahead=0.6, aim=0.9)
    scene.light = _wall_light(rng, w, length, h, True)
    if rng.random() < 0.15:
        _sunlit(scene.light, rng, w, length, h)
    scene.near = 0.35


def _rows(world: World, palette: Palette, rng: Rng, w: float, length: float) -> None:
    """Equal tables in rows, each with chairs that face the far wall."""
    wide, deep, tall = float(rng.uniform(0.6, 1.8)), float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.68, 0.78))
    across, along = wide + float(rng.choice([0.05, 0.5, 0.9])), deep + float(rng.uniform(0.7, 1.2))
    top, leg = palette.pick("wood", "white", "paint"), palette.pick("metal", "dark", "wood")
    seats = max(1, round(wide / 0.8))
    like = int(rng.integers(2**31))
    for y in np.arange(0.9, length - 1.2, along):
        for x in np.arange(-w / 2 + across * 0.6, w / 2 - across * 0.4, across):
            if rng.random() < 0.1:
                continue
            with world.at(
                float(x + rng.normal(0, 0.03)), float(y + rng.normal(0, 0.03)), 0, float(rng.normal(0, 0.03))
            ):
                world.box((0, -deep / 2, tall - 0.015), (wide, deep, 0.03), top)
                for a in (-1, 1):
                    for b in (0.05, deep - 0.05):
                        world.box((a * (wide / 2 - 0.04), -b, tall / 2), (0.035, 0.035, tall), leg)
                with world.at(0, -deep / 2, tall):
                    makers = (books, sheet, laptop, bottle, mug)
                    scatter(
                        world, palette, rng, (wide * 0.8, deep * 0.7), int(rng.choice([0, 0, 1, 2])), (0.1, 0.3), makers
                    )
                for s in range(seats):
                    if rng.random() < 0.85:
                        at = (s + 0.5) / seats * wide - wide / 2
                        with world.at(at, -deep - float(rng.uniform(0.0, 0.35)), 0, np.pi + float(rng.normal(0, 0.15))):
                            f.chair(world, palette, np.random.default_rng(like), 0.42, 0.42, 0.82)


def _meeting(world: World, palette: Palette, rng: Rng, w: float, length: float) -> None:
    """One long table with chairs on both sides."""
    wide, long, tall = float(rng.uniform(0.9, 1.8)), float(rng.uniform(1.8, 0.7 * length + 1)), 0.74
    like = int(rng.integers(2**31))
    with world.at(float(rng.uniform(-0.1, 0.1)) * w, length * 0.55):
        world.box((0, 0, tall), (wide, long, 0.04), palette.pick("wood", "white", "marble", "dark"))
        for y in (-0.35, 0.35):
            world.box((0, y * long, tall / 2), (wide * 0.5, 0.08, tall), palette.pick("metal", "wood", "dark"))
        with world.at(0, 0, tall + 0.02):
            makers = (*ON_FURNITURE, laptop, sheet)
            scatter(world, palette, rng, (wide * 0.8, long * 0.9), int(rng.integers(0, 10)), (0.1, 0.35), makers)
        for y in np.arange(-long / 2 + 0.4, long / 2, float(rng.uniform(0.6, 0.9))):
            for side in (-1, 1):
                away = wide / 2 + float(rng.uniform(0.2, 0.6))
                with world.at(side * away, float(y), 0, -side * np.pi / 2 + float(rng.normal(0, 0.2))):
                    f.chair(world, palette, np.random.default_rng(like), 0.5, 0.5, 0.95)


def _goods(world: World, palette: Palette, rng: Rng, wide: float, deep: float, tall: float) -> None:
    """A shelf whose boards hold rows of the same thing; or a bookshop's shelf."""
    if rng.random() < 0.3:
        f.shelf(world, palette, rng, wide, deep, tall)
        return
    board = palette.pick("metal", "white", "wood", "dark")
    world.box((0, -0.01, tall / 2), (wide, 0.02, tall), palette.pick("white", "metal", "paint", "wood"))
    for x in (-wide / 2, wide / 2):
        world.box((x, -deep / 2, tall / 2), (0.03, deep, tall), board)
    rows = max(2, round(tall / float(rng.uniform(0.3, 0.5))))
    for k in range(rows):
        z = 0.1 + k * (tall - 0.1) / rows
        world.box((0, -deep / 2, z), (wide, deep, 0.025), board)
        _row_of_goods(world, palette, rng, wide, deep, z + 0.0125, (tall - 0.1) / rows - 0.05)


def _row_of_goods(world: World, palette: Palette, rng: Rng, wide: float, deep: float, z: float, room: float) -> None:
    x = -wide / 2 + 0.03
    while x < wide / 2 - 0.1:
        run = float(rng.uniform(0.15, 0.6))
        size = min(room * float(rng.uniform(0.45, 0.95)), 0.4)
        kind, dress = rng.random(), palette.pick("printed", "printed", "paint", "white", "cardboard")
        across = size * float(rng.uniform(0.25, 0.9))
        here, end = x, min(x + run, wide / 2 - 0.03)
        while here + across <= end and kind < 0.9:
            front = -deep + 0.02 + float(rng.uniform(0, 0.3)) * deep
            if kind < 0.6:
                world.block((here, here + across * 0.96), (front, -0.03), (z, z + size), dress)
            else:
                world.tube(
                    (here + across / 2, front + across / 2, z),
                    (here + across / 2, front + across / 2, z + size),
                    across * 0.46,
                    dress,
                )
            here += across
        x += run


def _desk(world: World, palette: Palette, rng: Rng, wide: float, deep: float, tall: float) -> None:
    """A desk top with screens, keyboard and mouse, laptop, papers, mugs, a lamp and cables; drawers below."""
    top, leg, dark = (
        palette.pick("wood", "white", "paint", "dark"),
        palette.pick("metal", "dark", "wood"),
        palette.dark(),
    )
    world.box((0, -deep / 2, tall - 0.015), (wide, deep, 0.03), top)
    for x in (-1, 1):
        world.box((x * (wide / 2 - 0.03), -deep / 2, tall / 2), (0.04, deep * 0.9, tall), leg)
    if rng.random() < 0.5:
        with world.at(float(rng.choice([-1, 1])) * (wide / 2 - 0.28), -0.05):
            f.cabinet(world, palette, rng, 0.42, deep - 0.1, tall - 0.06)
    with world.at(0, 0, tall):
        seat = float(rng.uniform(-0.25, 0.25)) * wide
        for k in range(int(rng.integers(0, 3))):
            with world.at(
                seat + 0.6 * k * float(rng.choice([-1, 1])),
                -float(rng.uniform(0.15, 0.3)),
                0,
                float(rng.normal(0, 0.25)),
            ):
                laptop(world, palette, rng, float(rng.uniform(0.33, 0.5)))
        if rng.random() < 0.8:
            with world.at(seat, -deep + float(rng.uniform(0.12, 0.25)), 0, float(rng.normal(0, 0.12))):
                world.box((0, 0, 0.012), (0.44, 0.14, 0.022), palette.pick("dark", "white", "printed", "metal"))
                world.ball((0.32, 0, 0.012), (0.035, 0.055, 0.025), dark)
        with world.at(0, -deep / 2):
            makers = (books, books, sheet, sheet, mug, can, bottle, carton, laptop, lamp, plant, basket, cable)
            scatter(world, palette, rng, (wide * 0.95, deep * 0.9), int(rng.integers(3, 16)), (0.07, 0.28), makers)


__all__ = ["bathroom", "classroom", "kitchen", "shop", "workplace"]
