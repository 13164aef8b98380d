"""Open country: uneven ground, trees, rocks, paths, hills; and a lawn with animals close to the camera."""

from __future__ import annotations

import numpy as np

from ..camera import Viewpoint
from ..furniture import person
from ..palette import Palette
from ..scene import Scene
from ..things import figure
from ..world import World, turn
from .outdoors import bench, bush, daylight, tree

Rng = np.random.Generator


def _terrain(world: World, palette: Palette, rng: Rng, reach: float, rough: float) -> int:
    """Ground with mounds; returns its material."""
    ground = palette.pick("grass", "grass", "earth")
    world.card((0, 0, 0), (1600, 1600), ground)
    for _ in range(int(rng.integers(3, 12))):
        y = float(rng.uniform(0.15, 1.0)) * reach
        r = float(rng.uniform(0.1, 0.4)) * y + 1
        world.ball(
            (float(rng.normal(0, 0.5)) * y, y, -0.02),
            (r, r * float(rng.uniform(0.5, 1.5)), rough * float(rng.uniform(0.02, 0.12)) * r),
            ground,
        )
    return ground


def landscape(rng: Rng, aspect: float) -> Scene:
    """Meadow, wood's edge, track, shore or mountains under the sky."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    reach = float(rng.uniform(30, 150))
    ground = _terrain(world, palette, rng, reach, float(rng.uniform(0.3, 2)))
    for _ in range(int(rng.integers(2, 7))):  # hills and mountains
        y = float(rng.uniform(0.8, 2.2)) * reach
        r = float(rng.uniform(0.3, 0.9)) * y
        cover = palette.pick("rock", "leaf", "grass", "earth") if rng.random() < 0.7 else ground
        world.ball((float(rng.normal(0, 0.8)) * y, y, -0.1 * r), (r, r * 0.6, r * float(rng.uniform(0.12, 0.5))), cover)
    if rng.random() < 0.5:
        world.card(
            (float(rng.normal(0, 3)), 0, 0.012),
            (float(rng.uniform(1, 5)), 600),
            palette.pick("earth", "paving", "concrete"),
            turn(float(rng.normal(0, 0.15))),
        )
    leaf = palette.leaf()
    near_wood = rng.random() < 0.4
    for _ in range(int(rng.integers(6, 28))):
        y = 4 + float(rng.exponential(12 if near_wood else 30))
        x = float(rng.uniform(-0.8, 0.8)) * y
        if abs(x) < 1.2:
            continue
        with world.at(x, y, 0, float(rng.uniform(0, 6.3))):
            roll = rng.random()
            if roll < 0.6:
                tree(world, palette, rng, float(rng.uniform(3, 15)), leaf if rng.random() < 0.7 else None)
            elif roll < 0.8:
                bush(world, palette, rng, float(rng.uniform(0.5, 2.5)), leaf)
            elif roll < 0.93:
                s = float(rng.uniform(0.3, 2))
                world.ball(
                    (0, 0, s * 0.15),
                    (s, s * float(rng.uniform(0.5, 1)), s * float(rng.uniform(0.3, 0.8))),
                    palette.rock(),
                )
            elif roll < 0.97:
                person(world, palette, rng, 0.5, 0.4, 1.75)
            else:
                bench(world, palette, rng)
    if rng.random() < 0.3:
        material, y = palette.wood(), float(rng.uniform(4, 15))
        for x in np.arange(-15, 15, 2.0):
            world.box((x, y, 0.6), (0.1, 0.1, 1.2), material)
        for z in (0.5, 1.0):
            world.box((0, y, z), (30, 0.05, 0.12), material)
    yaw = float(rng.normal(0, 0.1))
    scene.camera = Viewpoint(
        (0.0, 0.0, float(rng.uniform(1.0, 3.0))),
        yaw,
        float(rng.normal(-0.03, 0.07)),
        float(rng.normal(0, 0.02)),
        float(rng.uniform(0.7, 1.35)),
    )
    scene.light = daylight(rng, yaw)
    scene.light.haze = float(rng.uniform(0, 0.012))
    scene.near = 0.7
    return scene


def animal(world: World, palette: Palette, rng: Rng, size: float) -> None:
    """A sitting, standing or lying animal facing roughly −y; ``size`` is its height."""
    coat, face, dark = palette.fur(), palette.fur(), palette.dark()
    sitting = rng.random() < 0.6
    if sitting:
        world.ball((0, size * 0.12, size * 0.28), (size * 0.26, size * 0.3, size * 0.3), coat, rotation=turn(0, 0.5))
        world.ball((0, -0.04 * size, size * 0.42), (size * 0.21, size * 0.2, size * 0.26), coat)
        legs: tuple[tuple[float, float], ...] = ((-0.12, -0.14), (0.12, -0.14))
        for s in (-1, 1):
            world.ball((s * size * 0.22, size * 0.05, size * 0.12), (size * 0.13, size * 0.22, size * 0.14), coat)
        head = (float(rng.normal(0, 0.05)) * size, -0.12 * size, size * 0.78)
    else:
        world.ball((0, size * 0.3, size * 0.55), (size * 0.23, size * 0.5, size * 0.24), coat)
        legs = ((-0.14, 0.0), (0.14, 0.0), (-0.14, 0.62), (0.14, 0.62))
        head = (float(rng.normal(0, 0.1)) * size, -0.28 * size, size * 0.85)
        world.capsule((0, -0.05 * size, size * 0.65), head, size * 0.12, coat)
    for x, y in legs:
        world.tube((x * size, y * size, 0), (x * size, y * size * 0.8, size * 0.42), size * 0.06, coat, size * 0.09)
        world.ball((x * size, y * size - 0.03 * size, size * 0.03), (size * 0.07, size * 0.1, size * 0.04), coat)
    with world.at(*head, float(rng.normal(0, 0.4))):
        world.ball((0, 0, 0), (size * 0.18, size * 0.18, size * 0.17), coat)
        world.ball((0, -size * 0.15, -size * 0.05), (size * 0.08, size * 0.12, size * 0.07), face)
        world.ball((0, -size * 0.26, -size * 0.02), size * 0.03, dark)
        for s in (-1, 1):
            world.ball((s * size * 0.075, -size * 0.15, size * 0.05), size * 0.022, dark)
            world.ball((s * size * 0.17, 0.02 * size, 0.0), (size * 0.05, size * 0.09, size * 0.13), face)


def lawn(rng: Rng, aspect: float) -> Scene:
    """Animals, a person or flowers close by on grass; the background far and out of focus."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    ground = palette.grass()
    world.card((0, 0, 0), (1200, 1200), ground)
    close = float(rng.uniform(1.0, 3.5))
    subjects = int(rng.integers(1, 4))
    for i in range(subjects):
        x = (i - (subjects - 1) / 2) * close * 0.28 + float(rng.normal(0, 0.04))
        with world.at(x, close + float(rng.normal(0, 0.12)), 0, float(rng.normal(0, 0.7))):
            size = close * float(rng.uniform(0.22, 0.5))
            roll = rng.random()
            if roll < 0.65:
                animal(world, palette, rng, size)
            elif roll < 0.85:
                figure(world, palette, rng, size)
            else:
                bush(world, palette, rng, size)
    bloom, stalk = palette.paint(), palette.leaf()
    for _ in range(int(rng.integers(0, 60))):
        y = close * float(rng.uniform(0.6, 2.5))
        x, r = float(rng.uniform(-0.5, 0.5)) * y, float(rng.uniform(0.008, 0.03))
        z = float(rng.uniform(0.01, 0.12))
        world.ball((x, y, z), (r, r, r * 0.6), bloom if rng.random() < 0.8 else stalk)
    for _ in range(int(rng.integers(0, 10))):
        y = float(rng.uniform(8, 40))
        with world.at(float(rng.uniform(-0.7, 0.7)) * y, y):
            (tree if rng.random() < 0.6 else bush)(world, palette, rng, float(rng.uniform(1.5, 9)))
    if rng.random() < 0.5:
        world.box(
            (0, float(rng.uniform(12, 60)), 3),
            (300, 1, float(rng.uniform(4, 16))),
            palette.pick("leaf", "outside_wall", "rock"),
        )
    eye = (0.0, 0.0, float(rng.uniform(0.15, 1.2)))
    aim = (float(rng.normal(0, 0.05)) * close, close, close * float(rng.uniform(0.08, 0.25)))
    scene.camera = Viewpoint.looking_at(eye, aim, float(rng.normal(0, 0.03)), float(rng.uniform(0.5, 1.1)))
    scene.light = daylight(rng, 0.0)
    scene.look.aperture, scene.look.focus = float(rng.uniform(0, 0.035)), close
    scene.near = 0.2
    return scene
