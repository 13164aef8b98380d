"""Small things that stand on tables, shelves and floors. Each stands on z = 0 at the origin of the current frame.

``size`` is the height or the longest extent in metres; all take the world, the palette and the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .palette import Palette
from .patterns import Pattern
from .world import World, turn

Rng = np.random.Generator
Maker = Callable[[World, Palette, Rng, float], None]


def carton(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A printed box: upright, lying or flat."""
    dims = np.array([size * rng.uniform(0.5, 0.9), size * rng.uniform(0.15, 0.55), size])
    dims = dims[rng.permutation(3)]
    world.box(
        (0, 0, dims[2] / 2), dims, palette.pick("printed", "printed", "cardboard", "paint"), turn(rng.uniform(0, 6.3))
    )


def can(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A cylinder, sometimes with a metal lid, sometimes lying."""
    radius = size * rng.uniform(0.28, 0.5)
    side = palette.pick("printed", "paint", "metal")
    if rng.random() < 0.2:
        yaw = rng.uniform(0, 6.3)
        dx, dy = np.cos(yaw) * size / 2, np.sin(yaw) * size / 2
        world.tube((-dx, -dy, radius), (dx, dy, radius), radius, side)
        return
    world.tube((0, 0, 0), (0, 0, size), radius, side)
    if rng.random() < 0.6:
        world.tube((0, 0, size), (0, 0, size * 1.02), radius * 0.93, palette.metal())


def bottle(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """Body, shoulder, neck, cap."""
    radius = size * rng.uniform(0.13, 0.24)
    body, cap = palette.pick("paint", "white", "printed", "glass", "dark"), palette.pick("paint", "white", "dark")
    shoulder, neck = size * rng.uniform(0.5, 0.72), radius * rng.uniform(0.3, 0.55)
    world.tube((0, 0, 0), (0, 0, shoulder), radius, body)
    world.tube((0, 0, shoulder), (0, 0, size * 0.84), radius, body, neck)
    world.tube((0, 0, size * 0.84), (0, 0, size * 0.92), neck, body)
    world.tube((0, 0, size * 0.92), (0, 0, size), neck * 1.15, cap)
    if rng.random() < 0.7:
        world.tube((0, 0, shoulder * 0.25), (0, 0, shoulder * 0.8), radius * 1.01, palette.printed())


def bowl(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """Half a ball, open above; sometimes with fruit."""
    radius = size * rng.uniform(0.6, 1.0)
    depth = radius * rng.uniform(0.5, 1.0)
    world.ball(
        (0, 0, depth),
        (radius, radius, depth),
        palette.pick("white", "paint", "printed", "wood"),
        cut=float(rng.uniform(-0.15, 0.1)),
    )
    if rng.random() < 0.4:
        fruit = palette.paint()
        for _ in range(int(rng.integers(2, 6))):
            x, y = rng.normal(0, radius * 0.3, 2)
            world.ball((x, y, depth * 0.75), radius * rng.uniform(0.28, 0.4), fruit)


def mug(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """An open cylinder with a handle."""
    material, radius = palette.pick("white", "paint", "printed"), size * rng.uniform(0.36, 0.5)
    world.tube((0, 0, 0), (0, 0, size), radius * rng.uniform(0.8, 1), material, radius, open_top=True)
    angles = np.linspace(-1.3, 1.3, 5)
    side = rng.uniform(0, 6.3)
    points = [(radius * 0.95 + size * 0.28 * np.cos(a), size * 0.5 + size * 0.3 * np.sin(a)) for a in angles]
    for (r0, z0), (r1, z1) in pairwise(points):
        world.tube(
            (r0 * np.cos(side), r0 * np.sin(side), z0),
            (r1 * np.cos(side), r1 * np.sin(side), z1),
            size * 0.05,
            material,
        )


def ball(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A ball or a fruit."""
    radius = size * 0.5
    squash = rng.uniform(0.75, 1.1)
    world.ball(
        (0, 0, radius * squash), (radius, radius, radius * squash), palette.pick("paint", "fabric", "printed", "fur")
    )


def books(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A pile of lying books."""
    z = 0.0
    for _ in range(int(rng.integers(1, 6))):
        thick = size * rng.uniform(0.08, 0.25)
        cover = palette.pick("printed", "paint", "dark")
        with world.at(
            float(rng.normal(0, 0.03)) * size, float(rng.normal(0, 0.03)) * size, z, float(rng.normal(0, 0.25))
        ):
            w, d = size * rng.uniform(0.7, 1.1), size * rng.uniform(0.5, 0.8)
            world.box((0, 0, thick / 2), (w, d, thick), cover)
            world.box((w * 0.01, 0.0, thick / 2), (w, d * 0.98, thick * 0.75), palette.white())
        z += thick


def banana(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A bent row of capsules: banana, sausage, croissant."""
    material = palette.make(palette.near((0.65, 0.5, 0.06), 0.3)) if rng.random() < 0.5 else palette.paint()
    thick, bend, yaw = size * rng.uniform(0.08, 0.13), rng.uniform(0.3, 1.4), rng.uniform(0, 6.3)
    angles = np.linspace(-bend, bend, 6)
    radius = size / 2 / np.sin(min(bend, 1.5))
    points = [np.array([radius * np.sin(a), radius * (np.cos(a) - 1), thick]) for a in angles]
    for i, (p, q) in enumerate(pairwise(points)):
        swell = thick * (1.0 if 0 < i < 4 else 0.8)
        world.capsule(turn(yaw) @ p, turn(yaw) @ q, swell, material)


def tool(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A drill-like thing: body, handle, foot, tip."""
    colour, black = palette.paint(), palette.dark()
    with world.at(0, 0, 0, float(rng.uniform(0, 6.3))):
        if rng.random() < 0.6:
            world.box((0, 0, size * 0.06), (size * 0.42, size * 0.2, size * 0.12), black)
            world.tube((0, 0, size * 0.1), (size * 0.06, 0, size * 0.7), size * 0.09, colour)
            world.tube((-size * 0.25, 0, size * 0.78), (size * 0.3, 0, size * 0.78), size * 0.13, colour)
            world.tube((size * 0.3, 0, size * 0.78), (size * 0.48, 0, size * 0.78), size * 0.08, black, size * 0.04)
        else:
            world.tube((-size * 0.3, 0, size * 0.13), (size * 0.3, 0, size * 0.13), size * 0.13, colour)
            world.tube((size * 0.3, 0, size * 0.13), (size * 0.5, 0, size * 0.13), size * 0.07, black, size * 0.03)
            world.tube((-size * 0.1, 0, size * 0.12), (-size * 0.05, -size * 0.55, size * 0.08), size * 0.08, colour)
            world.box((-size * 0.05, -size * 0.55, size * 0.1), (size * 0.36, size * 0.15, size * 0.2), black)


def turned(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """Turned on a lathe: vases, chess pieces, candlesticks, lamps' feet."""
    material = palette.pick("wood", "white", "dark", "metal", "paint")
    levels = int(rng.integers(3, 7))
    heights = np.sort(np.r_[0, rng.uniform(0.08, 0.92, levels - 1), 1]) * size
    radii = size * rng.uniform(0.06, 0.26, levels + 1)
    radii[0] = size * rng.uniform(0.2, 0.3)
    for i in range(levels):
        world.tube((0, 0, heights[i]), (0, 0, heights[i + 1]), float(radii[i]), material, float(radii[i + 1]))
    if rng.random() < 0.6:
        r = size * rng.uniform(0.08, 0.16)
        world.ball((0, 0, size + r * 0.7), r, material)


def figure(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A toy animal or statuette."""
    coat, other = palette.pick("fur", "paint", "white", "wood"), palette.pick("paint", "dark", "fabric")
    with world.at(0, 0, 0, float(rng.uniform(0, 6.3))):
        upright = rng.random() < 0.5
        leg = size * rng.uniform(0.12, 0.4)
        if upright:
            world.ball((0, 0, leg + size * 0.2), (size * 0.18, size * 0.15, size * 0.26), coat)
            world.ball((0, size * 0.03, leg + size * 0.55), size * rng.uniform(0.12, 0.2), coat)
            for side in (-1, 1):
                world.capsule(
                    (side * size * 0.1, 0, size * 0.03), (side * size * 0.08, 0, leg + size * 0.05), size * 0.05, other
                )
                world.capsule(
                    (side * size * 0.17, 0, leg + size * 0.32),
                    (side * size * 0.3, size * 0.08, leg + size * rng.uniform(0.1, 0.5)),
                    size * 0.04,
                    coat,
                )
                world.ball((side * size * 0.1, 0, leg + size * 0.7), size * 0.05, other)
        else:
            world.ball((0, 0, leg + size * 0.18), (size * 0.36, size * 0.16, size * 0.18), coat)
            world.ball((size * 0.4, 0, leg + size * 0.38), (size * 0.15, size * 0.12, size * 0.13), coat)
            world.ball((size * 0.53, 0, leg + size * 0.34), (size * 0.08, size * 0.06, size * 0.06), other)
            for x in (-0.24, 0.24):
                for y in (-0.08, 0.08):
                    world.tube((x * size, y * size, 0), (x * size, y * size, leg + size * 0.1), size * 0.045, coat)


def plant(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A pot with leaves."""
    pot, green = palette.pick("paint", "white", "wood", "concrete"), palette.leaf()
    radius = size * rng.uniform(0.14, 0.22)
    world.tube((0, 0, 0), (0, 0, size * 0.3), radius * 0.8, pot, radius)
    if rng.random() < 0.5:
        world.leaves((0, 0, size * 0.66), (size * 0.3, size * 0.3, size * 0.36), green, 0.55, 2.5)
        world.leaves((0, 0, size * 0.6), (size * 0.2, size * 0.2, size * 0.25), green, 0.7, 2.0)
    for _ in range(int(rng.integers(5, 11))):
        yaw, lean = rng.uniform(0, 6.3), rng.uniform(0.2, 1.2)
        reach = size * rng.uniform(0.3, 0.7)
        tip = np.array([np.cos(yaw) * np.sin(lean), np.sin(yaw) * np.sin(lean), np.cos(lean)]) * reach
        rotation = turn(float(yaw) - np.pi / 2) @ turn(0, np.pi / 2 - float(lean))
        world.card(tip * 0.55 + [0, 0, size * 0.3], (reach * 0.35, reach), green, rotation, mask=7)


def blocks(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A small stack of toy blocks or sugar cubes."""
    z, edge = 0.0, size * rng.uniform(0.3, 0.5)
    for _ in range(int(rng.integers(1, 4))):
        world.box(
            (rng.normal(0, 0.1) * edge, rng.normal(0, 0.1) * edge, z + edge / 2),
            (edge, edge, edge),
            palette.pick("paint", "wood", "printed"),
            turn(rng.uniform(0, 1.6)),
        )
        z += edge


def sheet(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """Paper, a phone, a tablet, a plate, a keyboard: flat things."""
    roll = rng.random()
    if roll < 0.35:
        world.box(
            (0, 0, 0.002), (size, size * rng.uniform(0.5, 0.8), 0.004), palette.printed(), turn(rng.uniform(0, 6.3))
        )
    elif roll < 0.6:
        world.tube((0, 0, 0), (0, 0, size * 0.08), size * 0.35, palette.pick("white", "paint", "printed"), size * 0.55)
    else:
        world.box(
            (0, 0, size * 0.03),
            (size, size * rng.uniform(0.35, 0.6), size * 0.06),
            palette.pick("dark", "metal", "white"),
            turn(rng.uniform(0, 6.3)),
        )


def laptop(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """An open laptop, or a screen on a foot."""
    dark = palette.dark()
    picture = palette.make(
        palette.colour(0.1, 0.9),
        palette.colour(),
        palette.colour(),
        glow=float(rng.choice([0, 0.8])),
        scale=0.1,
        pattern=_on_screen(rng),
    )
    w = size * 1.3
    if rng.random() < 0.5:
        world.box((0, 0, 0.01), (w, w * 0.65, 0.02), palette.pick("metal", "dark"))
        with world.at(0, w * 0.32, 0.02, 0, -float(rng.uniform(0.05, 0.5))):
            world.box((0, 0.006, w * 0.32), (w, 0.012, w * 0.62), dark)
            world.standing_card((0, -0.002, w * 0.32), (w * 0.93, w * 0.56), picture)
    else:
        world.box((0, 0, 0.01), (w * 0.4, w * 0.3, 0.02), dark)
        world.box((0, 0.03, w * 0.2), (w * 0.08, 0.03, w * 0.4), dark)
        world.box((0, 0, w * 0.45), (w, 0.03, w * 0.6), dark)
        world.standing_card((0, -0.017, w * 0.45), (w * 0.95, w * 0.55), picture)


def _on_screen(rng: Rng) -> Pattern:
    """What a screen shows."""
    return (Pattern.POSTER, Pattern.TEXT, Pattern.PHOTO)[int(rng.integers(3))]


def cable(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A wandering hose or cable."""
    material = palette.pick("dark", "paint", "white")
    heading, here = rng.uniform(0, 6.3), np.array([0.0, 0.0, size * 0.02])
    for _ in range(int(rng.integers(5, 12))):
        heading += rng.normal(0, 0.6)
        there = here + np.array([np.cos(heading), np.sin(heading), 0]) * size * 0.2
        world.capsule(here, there, size * 0.02, material)
        here = there


def lamp(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A table lamp, on or off."""
    shade = palette.lamp(float(rng.uniform(1, 4))) if rng.random() < 0.5 else palette.pick("fabric", "white")
    turned(world, palette, rng, size * 0.55)
    world.tube((0, 0, size * 0.58), (0, 0, size), size * 0.28, shade, size * 0.16, open_top=True)


def basket(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """An open box or bin."""
    w, d, wall = size * rng.uniform(0.8, 1.4), size * rng.uniform(0.6, 1.0), size * 0.03
    material = palette.pick("cardboard", "paint", "wood", "white")
    with world.at(0, 0, 0, float(rng.uniform(0, 6.3))):
        world.block((-w / 2, w / 2), (-d / 2, d / 2), (0, wall), material)
        for s in (-1, 1):
            world.box((s * w / 2, 0, size * 0.3), (wall, d, size * 0.6), material)
            world.box((0, s * d / 2, size * 0.3), (w, wall, size * 0.6), material)
        for _ in range(int(rng.integers(0, 4))):
            with world.at(float(rng.uniform(-0.3, 0.3) * w), float(rng.uniform(-0.3, 0.3) * d), wall):
                carton(world, palette, rng, size * 0.5)


SMALL: tuple[Maker, ...] = (
    carton,
    carton,
    carton,
    can,
    can,
    bottle,
    bottle,
    bowl,
    mug,
    ball,
    books,
    banana,
    tool,
    turned,
    figure,
    blocks,
    sheet,
    plant,
    basket,
    cable,
)
ON_FURNITURE: tuple[Maker, ...] = (
    carton,
    can,
    bottle,
    bowl,
    mug,
    books,
    books,
    turned,
    figure,
    plant,
    sheet,
    laptop,
    lamp,
    basket,
)


def scatter(
    world: World,
    palette: Palette,
    rng: Rng,
    area: tuple[float, float],
    count: int,
    sizes: tuple[float, float],
    makers: tuple[Maker, ...] = SMALL,
    gap: float = 0.45,
) -> None:
    """Stands up to ``count`` things on a rectangle of ``area`` metres centred on the origin, mostly without overlap."""
    placed: list[tuple[float, float, float]] = []
    for _ in range(count):
        size = float(np.exp(rng.uniform(np.log(sizes[0]), np.log(sizes[1]))))
        for _ in range(6):
            x, y = (float(rng.uniform(-0.5, 0.5)) * max(a - size * 0.6, 0.01) for a in area)
            if all(np.hypot(x - px, y - py) > gap * (size + ps) for px, py, ps in placed):
                placed.append((x, y, size))
                with world.at(x, y, 0, float(rng.uniform(0, 6.3))):
                    makers[int(rng.integers(len(makers)))](world, palette, rng, size)
                break
