"""What stands outdoors: trees, hedges, cars, bicycles, poles, signs, benches; daylight."""

from __future__ import annotations

import numpy as np

from ..palette import Palette
from ..scene import Light
from ..world import World, turn

Rng = np.random.Generator


def daylight(rng: Rng, front: float | None = None) -> Light:
    """Sun, overcast sky or dusk. ``front``: yaw of the camera, to keep most suns out of the picture."""
    height = float(rng.uniform(0.2, 1.3))
    yaw = (
        float(rng.uniform(0, 6.3)) if front is None or rng.random() < 0.3 else front + np.pi + float(rng.normal(0, 1.1))
    )
    towards = (-float(np.sin(yaw) * np.cos(height)), float(np.cos(yaw) * np.cos(height)), float(np.sin(height)))
    low = height < 0.45
    overcast = rng.random() < 0.3
    blue = float(rng.uniform(0.3, 1.0))
    grey = float(rng.uniform(0.5, 1.0))
    zenith = (grey * 0.8, grey * 0.85, grey * 0.92) if overcast else (0.5 - 0.35 * blue, 0.65 - 0.25 * blue, 0.95)
    horizon = (
        (grey, grey, grey * 1.02)
        if overcast
        else ((1.0, 0.8, 0.6) if low and rng.random() < 0.5 else (0.8, 0.88, 0.97))
    )
    strength = float(rng.uniform(0, 0.4)) if overcast else float(rng.uniform(1.2, 3.2))
    ambient = float(rng.uniform(0.6, 1.0)) if overcast else float(rng.uniform(0.25, 0.7))
    return Light(
        towards,
        True,
        (1.0, 0.78, 0.55) if low else (1.0, 0.95, 0.86),
        strength,
        0.015 if not overcast else 0.2,
        (ambient * 0.85, ambient * 0.95, ambient * 1.1),
        (ambient * 0.5, ambient * 0.46, ambient * 0.4),
        [],
        zenith,
        horizon,
        1.0 if overcast else float(rng.uniform(0.0, 0.9)),
        float(rng.choice([0, 0, 0, 0.001, 0.003, 0.007])),
    )


def tree(world: World, palette: Palette, rng: Rng, height: float, leaf: int | None = None) -> None:
    """Trunk, branches, crown of several foliage balls; or a conifer; or bare."""
    bark, green = palette.bark(), palette.leaf() if leaf is None else leaf
    radius = height * float(rng.uniform(0.015, 0.03))
    bole = height * float(rng.uniform(0.2, 0.45))
    world.tube((0, 0, -0.3), (0, 0, height * 0.75), radius * 1.2, bark, radius * 0.4)
    kind = rng.random()
    if kind < 0.2:
        for k in range(5):
            z = bole * 0.6 + (height - bole * 0.6) * k / 5
            r = height * 0.22 * (1 - k / 5.5)
            world.leaves((0, 0, z + height * 0.06), (r, r, height * 0.11), green, 0.62, 3.0)
        return
    spread = height * float(rng.uniform(0.18, 0.32))
    branches = int(rng.integers(3, 7))
    for _ in range(branches):
        yaw, reach = rng.uniform(0, 6.3), spread * rng.uniform(0.5, 1)
        start = bole + (height - bole) * rng.uniform(0, 0.4)
        tip = (np.cos(yaw) * reach, np.sin(yaw) * reach, start + (height - bole) * rng.uniform(0.2, 0.5))
        world.tube((0, 0, start), tip, radius * 0.4, bark, radius * 0.12)
        if kind < 0.93:
            r = spread * rng.uniform(0.5, 0.8)
            world.leaves(
                tip, (r, r, r * rng.uniform(0.6, 1)), green, float(rng.uniform(0.4, 0.65)), float(rng.uniform(2.5, 5))
            )
    if kind < 0.93:
        world.leaves(
            (0, 0, (bole + height) / 2 + 0.1 * height), (spread, spread, (height - bole) * 0.5), green, 0.6, 4.0
        )


def bush(world: World, palette: Palette, rng: Rng, size: float, leaf: int | None = None) -> None:
    """A few low foliage balls with a dark heart."""
    green = palette.leaf() if leaf is None else leaf
    world.ball((0, 0, size * 0.3), (size * 0.35, size * 0.35, size * 0.35), green)
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.normal(0, size * 0.25, 2)
        r = size * rng.uniform(0.3, 0.5)
        world.leaves((x, y, r * 0.8), (r, r, r), green, 0.7, 3.5)


def hedge(world: World, palette: Palette, rng: Rng, length: float, height: float, leaf: int | None = None) -> None:
    """A row of foliage along y."""
    green = palette.leaf() if leaf is None else leaf
    world.box((0, length / 2, height * 0.45), (height * 0.5, length, height * 0.85), green)
    for y in np.arange(0, length, height * 0.7):
        world.leaves((0, y, height * 0.55), (height * 0.4, height * 0.55, height * 0.52), green, 0.7, 4.0)


def car(world: World, palette: Palette, rng: Rng) -> None:
    """A car, van or truck along y, standing at the origin; front towards +y."""
    paint = palette.make(
        palette.near((0.5, 0.5, 0.5), 0.9) if rng.random() < 0.6 else palette.colour(0.03, 0.7, 0.8),
        gloss=0.9,
        dirt=0.06,
    )
    glass, tyre, light, tail = (
        palette.glass(),
        palette.dark(),
        palette.white(),
        palette.make((0.5, 0.03, 0.03), gloss=0.5),
    )
    van = rng.random() < 0.2
    length, w, h = float(rng.uniform(3.7, 4.9)), float(rng.uniform(1.65, 1.9)), float(rng.uniform(1.4, 1.65))
    if van:
        length, w, h = float(rng.uniform(4.8, 7)), float(rng.uniform(1.9, 2.3)), float(rng.uniform(2.0, 3.2))
    belt = h * (0.5 if van else 0.56)
    world.box((0, 0, (0.22 + belt) / 2), (w, length * 0.97, belt - 0.22), paint)
    world.tube(
        (-w / 2 + 0.02, length / 2 - 0.25, belt - 0.22), (w / 2 - 0.02, length / 2 - 0.25, belt - 0.22), 0.25, paint
    )
    world.tube(
        (-w / 2 + 0.02, -length / 2 + 0.25, belt - 0.22), (w / 2 - 0.02, -length / 2 + 0.25, belt - 0.22), 0.25, paint
    )
    if van:
        world.box((0, -length * 0.06, (belt + h) / 2), (w * 0.97, length * 0.84, h - belt), paint)
        world.standing_card((0, length * 0.365, (belt + h) / 2), (w * 0.85, (h - belt) * 0.7), glass, np.pi)
    else:
        cabin, middle = length * float(rng.uniform(0.45, 0.62)), -length * float(rng.uniform(0.0, 0.1))
        top = cabin * float(rng.uniform(0.55, 0.75))
        tall = h - belt
        with world.at(0, middle, belt):
            # a tapered four-sided cabin: boxes for roof, slanted glass between
            world.box((0, 0, tall * 0.96), (w * 0.78, top, 0.07), paint)
            slope = (cabin - top) / 2
            for s in (-1, 1):
                pane = float(np.hypot(tall, slope))
                with world.at(0, s * (top + slope) / 2, tall / 2, 0, s * float(np.arctan2(slope, tall))):
                    world.box((0, 0, 0), (w * 0.82, 0.05, pane), glass)
                world.box((s * w * 0.4, 0, tall / 2), (0.04, cabin * 0.88, tall * 0.96), glass, turn(0, 0, -s * 0.14))
                world.box((s * w * 0.41, -0.05, tall / 2), (0.05, 0.09, tall), paint, turn(0, 0, -s * 0.14))
            world.box((0, 0, tall * 0.3), (w * 0.75, cabin * 0.75, tall * 0.5), tyre)
    for s in (-1, 1):
        for y in (-length * 0.31, length * 0.31):
            world.tube((s * w * 0.34, y, 0.31), (s * w * 0.505, y, 0.31), 0.31, tyre)
            world.tube((s * w * 0.5, y, 0.31), (s * w * 0.512, y, 0.31), 0.19, light)
        world.box((s * w * 0.36, length * 0.485, belt * 0.75), (w * 0.2, 0.04, 0.14), light)
        world.box((s * w * 0.4, -length * 0.485, belt * 0.8), (w * 0.14, 0.04, 0.2), tail)
    world.box((0, -length * 0.488, belt * 0.55), (0.5, 0.02, 0.12), light)
    world.box((0, length * 0.488, 0.42), (w * 0.8, 0.05, 0.15), tyre)


def bicycle(world: World, palette: Palette, rng: Rng) -> None:
    """Two wheels and a frame, along x."""
    frame, tyre = palette.paint(), palette.dark()
    for s in (-0.52, 0.52):
        world.standing_card((s, 0, 0.34), (0.68, 0.68), tyre, mask=4, repeat=14)
    points = {
        "rear": (-0.52, 0.34),
        "pedal": (-0.08, 0.3),
        "seat": (-0.22, 0.85),
        "head": (0.35, 0.85),
        "front": (0.52, 0.34),
        "bar": (0.32, 1.02),
    }
    for a, b in (
        ("rear", "pedal"),
        ("rear", "seat"),
        ("pedal", "seat"),
        ("pedal", "head"),
        ("seat", "head"),
        ("head", "front"),
        ("head", "bar"),
    ):
        world.tube((points[a][0], 0, points[a][1]), (points[b][0], 0, points[b][1]), 0.018, frame)
    world.tube((0.32, -0.28, 1.02), (0.32, 0.28, 1.02), 0.015, tyre)
    world.ball((-0.24, 0, 0.9), (0.13, 0.07, 0.04), tyre)


def pole(world: World, palette: Palette, rng: Rng, height: float) -> None:
    """A lamp post, a traffic sign, a traffic light or a plain pole."""
    metal = palette.pick("metal", "dark", "concrete")
    radius = float(rng.uniform(0.03, 0.09))
    world.tube((0, 0, 0), (0, 0, height), radius, metal, radius * 0.7)
    roll = rng.random()
    if roll < 0.35:
        arm = float(rng.uniform(0.6, 1.6)) * float(rng.choice([-1, 1]))
        world.tube((0, 0, height), (arm, 0, height + 0.15), radius * 0.6, metal)
        world.box((arm, 0, height + 0.12), (0.5, 0.2, 0.1), metal)
    elif roll < 0.75:
        z = min(height, float(rng.uniform(2.0, 2.8)))
        sign = palette.pick("printed", "paint", "white")
        with world.at(0, -radius - 0.02, z, float(rng.choice([0, np.pi]))):
            world.standing_card(
                (0, 0, 0), (0.65, 0.65 if rng.random() < 0.6 else 0.4), sign, mask=int(rng.random() < 0.5)
            )
    else:
        z = min(height, float(rng.uniform(2.4, 4)))
        world.box((0, -0.1, z), (0.28, 0.22, 0.8), palette.dark())
        for k, colour in enumerate(((0.1, 0.7, 0.3), (0.7, 0.5, 0.05), (0.8, 0.08, 0.05))):
            world.ball((0, -0.2, z - 0.25 + 0.25 * k), 0.09, palette.make(colour, glow=2.0 if k == 2 else 0.0))


def bench(world: World, palette: Palette, rng: Rng) -> None:
    """A bench along x."""
    plank, iron = palette.wood(), palette.dark()
    for y in (-0.4, -0.25, -0.1):
        world.box((0, y, 0.45), (1.6, 0.12, 0.04), plank)
    for z in (0.65, 0.82):
        world.box((0, 0, z), (1.6, 0.04, 0.12), plank)
    for x in (-0.7, 0.7):
        world.box((x, -0.22, 0.22), (0.06, 0.45, 0.44), iron)
        world.box((x, 0.02, 0.5), (0.06, 0.05, 0.9), iron)


def bin_(world: World, palette: Palette, rng: Rng) -> None:
    """A litter bin, bollard, post box or hydrant."""
    body = palette.pick("dark", "paint", "metal", "concrete")
    if rng.random() < 0.5:
        h = float(rng.uniform(0.6, 1.1))
        world.tube((0, 0, 0), (0, 0, h), float(rng.uniform(0.08, 0.3)), body)
    else:
        world.box((0, 0, 0.55), (0.55, 0.6, 1.1), body)
        world.box((0, 0, 1.13), (0.6, 0.65, 0.08), body)
