"""Towns: streets between buildings, facades seen across the road, squares with a landmark.

The road runs along +y with its surface at z = 0 and its middle at x = 0; pavements are a kerb higher.
"""

from __future__ import annotations

import numpy as np

from ..camera import Viewpoint
from ..furniture import person
from ..palette import Palette
from ..scene import Scene
from ..world import Kind, World
from .outdoors import bench, bicycle, bin_, bush, car, daylight, hedge, pole, tree

Rng = np.random.Generator


def building(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A house with its front along x at y = 0 (facing −y), body behind it."""
    wall = palette.facade() if rng.random() < 0.85 else palette.outside_wall()
    world.box((0, d / 2, h / 2), (w, d, h), wall)
    if rng.random() < 0.5:  # plinth or shop front
        z = float(rng.uniform(0.4, 3.5))
        world.box(
            (0, -0.06, z / 2),
            (w * 0.995, 0.12, z),
            palette.pick("outside_wall", "concrete", "panels", "glass", "facade"),
        )
    if rng.random() < 0.4:
        world.box((0, -0.15, h - 0.2), (w + 0.3, 0.4, 0.35), palette.pick("white", "concrete"))
    if rng.random() < 0.45:
        roof = palette.pick("outside_wall", "dark")
        rise = float(rng.uniform(1, 3.5))
        for s in (-1, 1):
            pitch = float(np.arctan2(rise, d / 2))
            slope = float(np.hypot(rise, d / 2)) + 0.4
            with world.at(0, d / 2 + s * d / 4, h + rise / 2, 0, -s * pitch):
                world.box((0, 0, 0), (w + 0.4, slope, 0.15), roof)
    for _ in range(int(rng.integers(0, 4))):  # balconies, bays, awnings, doors
        x, z = float(rng.uniform(-0.4, 0.4)) * w, float(rng.integers(1, 5)) * 3.0
        if z < h - 2:
            world.box((x, -0.5, z), (2.2, 1.0, 0.15), palette.concrete())
            world.box((x, -0.98, z + 0.5), (2.2, 0.05, 0.9), palette.pick("glass", "metal", "dark"))
    if rng.random() < 0.7:
        world.box(
            (float(rng.uniform(-0.4, 0.4)) * w, -0.08, 1.1),
            (1.1, 0.2, 2.2),
            palette.pick("wood", "dark", "paint", "glass"),
        )
    if rng.random() < 0.25:
        world.box((float(rng.uniform(-0.3, 0.3)) * w, -0.6, 2.7), (3, 1.2, 0.1), palette.pick("fabric", "paint"))


def _row(
    world: World, palette: Palette, rng: Rng, side: int, x: float, start: float, end: float, low: float, high: float
) -> None:
    """Buildings, or gardens and parks, along one side from y = start to end; fronts at distance ``x`` from the middle."""
    y = start
    green = rng.random() < 0.3
    while y < end:
        w = float(rng.uniform(6, 20))
        back = float(rng.uniform(0, 1.5))
        roll = rng.random()
        with world.at(side * (x + back), y + w / 2, 0, -side * np.pi / 2):
            if roll < (0.25 if green else 0.8):
                building(world, palette, rng, w, float(rng.uniform(8, 14)), float(rng.uniform(low, high)))
            elif roll < (0.75 if green else 0.88):
                leaf = palette.leaf()
                for _ in range(int(rng.integers(2, 5))):
                    with world.at(float(rng.uniform(-0.5, 0.5)) * w, float(rng.uniform(0.5, 6))):
                        tree(world, palette, rng, float(rng.uniform(4, 14)), leaf)
                with world.at(-w / 2, 0, 0, -np.pi / 2):
                    if rng.random() < 0.6:
                        hedge(world, palette, rng, w, float(rng.uniform(0.8, 2)), leaf)
            else:
                world.box((0, 0.1, 0.7), (w, 0.2, 1.4), palette.outside_wall())
                with world.at(0, 9):
                    building(world, palette, rng, w * 0.8, 10, float(rng.uniform(low, high)))
        y += w + (float(rng.uniform(0, 5)) if rng.random() < 0.3 else 0.0)


def _pavement_life(
    world: World,
    palette: Palette,
    rng: Rng,
    side: int,
    inner: float,
    outer: float,
    start: float,
    end: float,
    kerb: float,
) -> None:
    """Trees, poles, people, bicycles and bins on one pavement."""
    leaf = palette.leaf()
    if rng.random() < 0.55:
        gap, height = float(rng.uniform(5, 12)), float(rng.uniform(5, 13))
        for y in np.arange(start + rng.uniform(0, gap), min(end, 70), gap):
            with world.at(side * (inner + 0.7), float(y), kerb):
                tree(world, palette, rng, height * float(rng.uniform(0.8, 1.2)), leaf)
    gap, height = float(rng.uniform(8, 25)), float(rng.uniform(3, 8))
    for y in np.arange(start + rng.uniform(0, gap), min(end, 80), gap):
        with world.at(side * (inner + 0.4), float(y), kerb):
            pole(world, palette, rng, height)
    for _ in range(int(rng.integers(0, 5))):
        y = start + 4 + float(rng.exponential(14))
        with world.at(
            side * float(rng.uniform(inner + 0.5, max(outer - 0.4, inner + 0.6))), y, kerb, float(rng.uniform(0, 6.3))
        ):
            roll = rng.random()
            if roll < 0.5:
                person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
            elif roll < 0.7:
                bicycle(world, palette, rng)
            elif roll < 0.85:
                bin_(world, palette, rng)
            else:
                bush(world, palette, rng, float(rng.uniform(0.6, 1.4)), leaf)


def _ground(world: World, palette: Palette, rng: Rng, half: float, walk: float, kerb: float) -> None:
    world.card((0, 60, 0), (half * 2, 400), palette.road(half))
    for side in (-1, 1):
        paving = palette.paving()
        kind = paving if rng.random() < 0.8 else palette.grass()
        world.block(
            (side * half, side * (half + walk)) if side > 0 else (-half - walk, -half), (-120, 260), (-0.2, kerb), kind
        )
        stone = palette.concrete()
        world.box((side * (half + 0.08), 70, kerb / 2), (0.16, 380, kerb + 0.01), stone)
        ground = paving if rng.random() < 0.4 else palette.pick("grass", "earth", "paving")
        world.add(Kind.CARD, (side * (half + walk + 60), 60, kerb * 0.9), (60, 200, 1), ground)
    if rng.random() < 0.12:  # tram or railway track
        rail, bed, track = palette.metal(), palette.earth(), float(rng.choice([-1, 1])) * (half + walk * 0.5)
        world.box((track, 70, kerb + 0.03), (2.6, 380, 0.1), bed)
        for s in (-0.72, 0.72):
            world.box((track + s, 70, kerb + 0.14), (0.08, 380, 0.12), rail)
        sleeper = palette.pick("concrete", "wood")
        for y in np.arange(-2, 30, 0.65):
            world.box((track, float(y), kerb + 0.08), (2.4, 0.25, 0.08), sleeper)


def _parked(world: World, palette: Palette, rng: Rng, x: float, end: float) -> None:
    """A row of parked cars at ``x`` with gaps."""
    y, crowd = float(rng.uniform(-6, 6)), float(rng.uniform(0.3, 0.95))
    while y < min(end, 75):
        if rng.random() < crowd:
            with world.at(x, y, 0, float(rng.choice([0, np.pi])) + float(rng.normal(0, 0.03))):
                car(world, palette, rng)
        y += float(rng.uniform(5.2, 7))


def _traffic(world: World, palette: Palette, rng: Rng, half: float) -> None:
    """Cars and cyclists on the road, keeping right."""
    for _ in range(int(rng.integers(0, 4))):
        lane = float(rng.choice([-1, 1]))
        with world.at(lane * half * 0.35, 7 + float(rng.exponential(18)), 0, 0 if lane > 0 else np.pi):
            if rng.random() < 0.8:
                car(world, palette, rng)
                continue
            with world.at(0, 0, 0, np.pi / 2):
                bicycle(world, palette, rng)
            with world.at(0, 0, 0.45):
                person(world, palette, rng, 0.5, 0.1, 1.3)


def _far_end(world: World, palette: Palette, rng: Rng, end: float, low: float, high: float) -> None:
    """What closes the view: a cross building or a row of trees."""
    with world.at(float(rng.normal(0, 5)), end + 5):
        if rng.random() < 0.6:
            building(world, palette, rng, float(rng.uniform(20, 60)), 10, float(rng.uniform(low, high)))
            return
        leaf = palette.leaf()
        for x in np.arange(-24, 24, 5.0):
            with world.at(float(x), float(rng.uniform(0, 6))):
                tree(world, palette, rng, float(rng.uniform(6, 14)), leaf)


def _wires(world: World, palette: Palette, rng: Rng, reach: float) -> None:
    """Cables across the street."""
    for z, y in zip(rng.uniform(5, 8, 3), rng.uniform(6, 40, 3), strict=True):
        skew = float(rng.normal(0, 2))
        world.tube((-reach, float(y), float(z)), (reach, float(y) + skew, float(z)), 0.015, palette.dark())


def _walker(rng: Rng, x: float, aspect: float) -> Viewpoint:
    """A car's or a walker's view along the street; now and then from above."""
    eye, yaw, pitch = (x, 0.0, float(rng.uniform(1.2, 2.1))), float(rng.normal(0, 0.12)), float(rng.normal(-0.03, 0.05))
    if aspect < 2 and rng.random() < 0.4:
        pitch, yaw = float(rng.normal(0.02, 0.1)), float(rng.normal(0, 0.35))
    if rng.random() < 0.08:  # from a bridge, a balcony, a drone
        eye, pitch = (x, 0.0, float(rng.uniform(3.5, 14))), -float(rng.uniform(0.1, 0.6))
    return Viewpoint(eye, yaw, pitch, float(rng.normal(0, 0.015)), float(rng.uniform(0.85, 1.5)))


def street(rng: Rng, aspect: float) -> Scene:
    """Along a street: cars, kerbs, pavements, buildings or trees on both sides, something closing the far end."""
    scene = Scene(near=1.0)
    palette, world = Palette(scene.materials, rng), scene.world
    half, walk, kerb = float(rng.uniform(2.6, 7)), float(rng.uniform(1.5, 6)), float(rng.uniform(0.05, 0.18))
    low = float(rng.uniform(3, 9))
    high, end = low + float(rng.uniform(1, 14)), float(rng.uniform(25, 140))
    _ground(world, palette, rng, half, walk, kerb)
    for side in (-1, 1):
        _row(world, palette, rng, side, half + walk + float(rng.uniform(0, 1.5)), -12, end, low, high)
        _pavement_life(world, palette, rng, side, half, half + walk, 2, end, kerb)
        if rng.random() < 0.7:
            _parked(world, palette, rng, side * (half - 1.05), end)
    _traffic(world, palette, rng, half)
    if rng.random() < 0.7:
        _far_end(world, palette, rng, end, low, high)
    if rng.random() < 0.35:
        _wires(world, palette, rng, half + walk)
    on_walk = rng.random() < 0.35
    x = float(rng.choice([-1, 1])) * (half + walk * 0.5) if on_walk else float(rng.uniform(-0.6, 0.6)) * half
    scene.camera = _walker(rng, x, aspect)
    if rng.random() < 0.15:  # someone close by
        away = float(rng.uniform(1.8, 6))
        with world.at(x + float(rng.normal(0, 0.25)) * away, away, 0, float(rng.uniform(0, 6.3))):
            person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
    scene.light = daylight(rng, scene.camera.yaw)
    return scene


def facade(rng: Rng, aspect: float) -> Scene:
    """Across the pavement or the road at a building front, straight or at an angle: people, bicycles, plants before it."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    ground = palette.pick("paving", "paving", "concrete", "grass")
    world.card((0, 40, 0), (300, 300), ground)
    far = float(rng.uniform(5, 22))
    x = -30.0
    while x < 30:
        w = float(rng.uniform(6, 22))
        with world.at(x + w / 2, far + float(rng.uniform(0, 2.5)) * (rng.random() < 0.5)):
            building(world, palette, rng, w, 8, float(rng.uniform(4, 18)))
        x += w + (float(rng.uniform(1, 6)) if rng.random() < 0.25 else 0)
    if rng.random() < 0.4:
        stone = palette.concrete()
        world.box((float(rng.uniform(-10, 10)), far - 1.5, 0.25), (float(rng.uniform(4, 14)), 3, 0.5), stone)
    makers = (person, person, bicycle, bicycle, bush, tree, pole, bin_, bench, car)
    leaf = palette.leaf()
    for _ in range(int(rng.integers(3, 14))):
        y = float(rng.uniform(0.35, 0.95)) * far
        make = makers[int(rng.integers(len(makers)))]
        with world.at(
            float(rng.uniform(-0.7, 0.7)) * y, y, 0, float(rng.choice([0, 0, np.pi / 2])) + float(rng.normal(0, 0.3))
        ):
            if make is person:
                person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
            elif make is bush:
                bush(world, palette, rng, float(rng.uniform(0.6, 2.2)), leaf)
            elif make is tree:
                tree(world, palette, rng, float(rng.uniform(4, 9)), leaf)
            elif make is pole:
                pole(world, palette, rng, float(rng.uniform(2.2, 6)))
            elif make is bicycle:
                for k in range(int(rng.integers(1, 5))):
                    with world.at(0, 0.5 * k, 0, float(rng.normal(0, 0.05))):
                        bicycle(world, palette, rng)
            elif make is car:
                with world.at(0, 0, 0, np.pi / 2):
                    car(world, palette, rng)
            elif make is bin_:
                bin_(world, palette, rng)
            else:
                bench(world, palette, rng)
    yaw = float(rng.normal(0, 0.35))
    scene.camera = Viewpoint(
        (0.0, 0.0, float(rng.uniform(1.3, 1.9))),
        yaw,
        float(rng.normal(0.02, 0.07)),
        float(rng.normal(0, 0.02)),
        float(rng.uniform(0.8, 1.45)),
    )
    scene.light = daylight(rng, yaw)
    scene.near = 0.8
    return scene


def square(rng: Rng, aspect: float) -> Scene:
    """A landmark across an open place: a long building, an arcade, a tower, a round hall; people far away."""
    scene = Scene()
    palette, world = Palette(scene.materials, rng), scene.world
    world.card((0, 100, 0), (900, 600), palette.pick("paving", "grass", "earth"))
    far = float(rng.uniform(15, 70))
    stone = palette.facade()
    roll = rng.random()
    with world.at(float(rng.uniform(-0.3, 0.3)) * far, far, 0, float(rng.normal(0, 0.5))):
        if roll < 0.35:
            r = float(rng.uniform(0.35, 0.7)) * far
            tall = r * float(rng.uniform(0.4, 0.8))
            with world.at(0, r):
                world.tube((0, 0, 0), (0, 0, tall), r, stone, open_top=True)
                world.tube((0, 0, 0), (0, 0, tall * 0.7), r * 1.04, palette.facade(), open_top=True)
        elif roll < 0.7:
            bays = int(rng.integers(4, 12))
            w, h = float(rng.uniform(3, 5)), float(rng.uniform(4, 7))
            wall = palette.outside_wall()
            for k in range(int(rng.integers(1, 4))):
                for i in range(bays):
                    world.standing_card(((i - bays / 2) * w, 0, h * (k + 0.5)), (w, h), wall, mask=3)
                world.box((-w / 2, 3, h * (k + 1)), (bays * w, 6, 0.4), wall)
            world.box((-w / 2, 6, h), (bays * w, 0.5, h * 2.0), palette.pick("dark", "facade"))
        else:
            building(world, palette, rng, far * float(rng.uniform(0.5, 1.2)), 15, far * float(rng.uniform(0.15, 0.5)))
            with world.at(far * float(rng.uniform(-0.3, 0.3)), -2):
                side = float(rng.uniform(4, 8))
                world.box((0, side / 2, far * 0.3), (side, side, far * 0.6), stone)
                world.tube((0, side / 2, far * 0.6), (0, side / 2, far * 0.8), side * 0.7, palette.dark(), 0.1)
    if rng.random() < 0.6:
        for side in (-1, 1):
            _row(world, palette, rng, side, far * float(rng.uniform(0.5, 1.2)), far * 0.3, far * 2, 5, 14)
    for _ in range(int(rng.integers(2, 12))):
        y = float(rng.uniform(0.15, 0.9)) * far
        with world.at(float(rng.uniform(-0.6, 0.6)) * y, y, 0, float(rng.uniform(0, 6.3))):
            choice = rng.random()
            if choice < 0.6:
                person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
            elif choice < 0.8:
                tree(world, palette, rng, float(rng.uniform(3, 8)))
            elif choice < 0.9:
                pole(world, palette, rng, 5.0)
            else:
                bench(world, palette, rng)
    yaw = float(rng.normal(0, 0.15))
    scene.camera = Viewpoint(
        (0.0, 0.0, float(rng.uniform(1.3, 2.2))),
        yaw,
        float(rng.uniform(-0.05, 0.2)),
        float(rng.normal(0, 0.015)),
        float(rng.uniform(0.75, 1.35)),
    )
    scene.light = daylight(rng, yaw)
    scene.near = 1.0
    return scene
