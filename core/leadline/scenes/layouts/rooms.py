"""Indoors: living rooms, bedrooms, kitchens, offices; workshops and basements; libraries; corridors.

A room has its floor at z = 0, spans x in [−w/2, w/2] and y in [0, l]; the camera usually stands near y = 0 at human height.
"""

from __future__ import annotations

import numpy as np

from .. import furniture as f
from ..camera import Viewpoint
from ..palette import Palette
from ..scene import Light, Scene
from ..things import ON_FURNITURE, SMALL, cable, scatter
from ..world import World, turn

Rng = np.random.Generator

SETS: dict[str, tuple[f.Piece, ...]] = {
    "living": (
        f.SOFA,
        f.SOFA,
        f.ARMCHAIR,
        f.ARMCHAIR,
        f.SHELF,
        f.CABINET,
        f.TABLE,
        f.STOOL,
        f.STOOL,
        f.LAMP,
        f.PLANT,
        f.PERSON,
    ),
    "bedroom": (f.BED, f.CABINET, f.CABINET, f.SHELF, f.DESK, f.CHAIR, f.LAMP, f.PLANT, f.STOOL),
    "kitchen": (f.COUNTER, f.COUNTER, f.CABINET, f.CABINET, f.DINING, f.CHAIR, f.SHELF, f.BOXES, f.PERSON),
    "office": (f.DESK, f.DESK, f.DESK, f.SHELF, f.CABINET, f.CHAIR, f.CHAIR, f.PLANT, f.PERSON, f.BOXES),
    "dining": (f.DINING, f.DINING, f.CABINET, f.CHAIR, f.SHELF, f.PLANT, f.ORNAMENT, f.CABINET, f.PERSON),
    "store": (
        f.SHELF,
        f.SHELF,
        f.BOXES,
        f.BOXES,
        f.BOXES,
        f.HEATER,
        f.CABINET,
        f.TABLE,
        f.STOOL,
        f.BOXES,
        f.SHELF,
        f.CABINET,
        f.HEATER,
        f.TABLE,
        f.STAIRS,
        f.CHAIR,
    ),
}


def _wall_light(rng: Rng, w: float, length: float, h: float, sunny: bool) -> Light:
    """A ceiling lamp, or daylight from the windows' side."""
    warm = float(rng.uniform(0.55, 1.0))
    colour = (1.0, 0.6 + 0.4 * warm, 0.25 + 0.75 * warm)
    ambient = float(rng.uniform(0.1, 0.55))
    above = (ambient, ambient * 0.97, ambient * float(rng.uniform(0.8, 1.1)))
    floor_tint = float(rng.uniform(0.35, 0.9)) * ambient
    place = (
        float(rng.uniform(-0.4, 0.4)) * w,
        float(rng.uniform(0.15, 0.9)) * length,
        h - float(rng.uniform(0.05, 0.5)),
    )
    fills = []
    if sunny or rng.random() < 0.5:
        side = float(rng.choice([-1, 1]))
        fills.append(
            (
                (side * w * 0.48, float(rng.uniform(0.2, 0.9)) * length, h * 0.6),
                (0.6, 0.68, 0.8),
                float(rng.uniform(0.8, 2.5)),
            )
        )
    if rng.random() < 0.3:
        fills.append(
            ((float(rng.uniform(-0.45, 0.45)) * w, length * float(rng.uniform(0.3, 0.95)), 1.2), (1.0, 0.7, 0.4), 0.6)
        )
    return Light(
        place,
        False,
        colour,
        float(rng.uniform(0.5, 3.5)),
        float(rng.uniform(0.02, 0.15)),
        above,
        (floor_tint, floor_tint * 0.93, floor_tint * 0.85),
        fills,
    )


def _sunlit(light: Light, rng: Rng, w: float, length: float, h: float) -> None:
    """Turns ``light`` into the sun shining through a window in a side wall: bright patches on floor and furniture."""
    side = float(rng.choice([-1, 1]))
    middle, half = float(rng.uniform(0.2, 0.95)) * length, float(rng.uniform(0.4, 1.6))
    light.sun, light.size = True, 0.015
    light.position = (side, float(rng.normal(0, 0.5)), float(rng.uniform(0.35, 1.2)))
    light.colour, light.strength = (1.0, 0.9, 0.75), float(rng.uniform(1.5, 5))
    light.window = (
        side * w / 2,
        middle - half,
        middle + half,
        float(rng.uniform(0.1, 0.9)),
        h * float(rng.uniform(0.75, 0.95)),
    )
    light.fills.append(((side * w * 0.47, middle, h * 0.55), (0.6, 0.65, 0.72), 1.5))


def _window(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """A window with frame and sill, perhaps curtains or a radiator."""
    w, tall, z = float(rng.uniform(0.7, 2.2)), float(rng.uniform(0.8, 1.5)), float(rng.uniform(0.7, 1.1))
    frame = palette.pick("white", "wood", "dark")
    world.box((0, -0.01, z + tall / 2), (w, 0.02, tall), palette.window(float(np.exp(rng.uniform(-0.5, 1.8)))))
    for x in np.linspace(-w / 2, w / 2, int(rng.integers(2, 5))):
        world.box((x, -0.03, z + tall / 2), (0.05, 0.05, tall + 0.06), frame)
    for k in (0.0, float(rng.choice([0.5, 1.0])), 1.0):
        world.box((0, -0.03, z + k * tall), (w + 0.06, 0.05, 0.05), frame)
    world.box((0, -0.08, z - 0.03), (w + 0.2, 0.18, 0.04), frame)
    if rng.random() < 0.45:
        cloth = palette.pick("fabric", "white")
        for s in (-1, 1):
            for k in range(4):
                world.tube(
                    (s * (w / 2 + 0.05 + 0.07 * k), -0.1 - 0.03 * (k % 2), 0.05),
                    (s * (w / 2 + 0.05 + 0.07 * k), -0.1 - 0.03 * (k % 2), z + tall + 0.15),
                    0.05,
                    cloth,
                )
    elif rng.random() < 0.5:
        heater = palette.white()
        for x in np.arange(-w * 0.4, w * 0.4, 0.09):
            world.box((x, -0.1, 0.4), (0.06, 0.1, 0.55), heater)


def _door(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """A door, shut with panels or standing open onto somewhere dark."""
    frame = palette.pick("white", "wood")
    leaf = palette.pick("wood", "white", "panels", "paint", "dark")
    world.box((0, -0.02, 1.03), (1.0, 0.05, 2.08), frame)
    if rng.random() < 0.5:
        world.box((0, -0.04, 1.0), (0.86, 0.04, 2.0), leaf)
        for z in (0.55, 1.5):
            world.box((0, -0.055, z), (0.55, 0.03, 0.65), leaf)
        world.ball((0.36, -0.1, 1.0), 0.03, palette.metal())
    else:
        world.box((0, -0.046, 1.0), (0.86, 0.01, 2.0), palette.pick("dark", "wall"))
        with world.at(-0.43, -0.05, 0, -float(rng.uniform(0.3, 1.5))):
            world.box((0.43, 0, 1.0), (0.86, 0.04, 2.0), leaf)


def _pictures(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """Framed pictures, mirrors, boards."""
    for _ in range(int(rng.integers(1, 4))):
        w, tall = float(rng.uniform(0.2, 1.1)), float(rng.uniform(0.2, 0.9))
        x, z = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(1.2, max(1.3, h - 0.5)))
        world.box((x, -0.015, z), (w, 0.03, tall), palette.pick("wood", "dark", "white", "metal"))
        world.box((x, -0.02, z), (w * 0.85, 0.032, tall * 0.85), palette.pick("printed", "printed", "glass", "fabric"))


def _wall_boards(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """Boards on the wall with things on them."""
    for k in range(int(rng.integers(1, 4))):  # wall boards
        z = 1.0 + 0.4 * k
        world.box((0, -0.12, z), (1.0, 0.24, 0.025), palette.pick("wood", "white"))
        with world.at(0, -0.12, z + 0.0125):
            scatter(world, palette, rng, (0.9, 0.2), int(rng.integers(1, 6)), (0.08, 0.28), ON_FURNITURE)


def _opening(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """Something on a wall of height ``h``, in the wall's frame: x along it, facing −y."""
    kinds = (_window, _door, _pictures, _wall_boards)
    kinds[int(rng.choice(4, p=[0.3, 0.2, 0.35, 0.15]))](world, palette, rng, h)


def _shell(world: World, palette: Palette, rng: Rng, w: float, length: float, h: float) -> None:
    """Floor, ceiling, four walls (the near one behind the camera), skirting, beams."""
    floor, ceiling = palette.floor(), palette.pick("white", "white", "wall", "wood", "concrete")
    wall = palette.wall()
    other = palette.wall() if rng.random() < 0.3 else wall
    thick = 0.1
    world.block((-w / 2 - 1, w / 2 + 1), (-1.5, length + 1), (-thick, 0), floor)
    world.block((-w / 2 - 1, w / 2 + 1), (-1.5, length + 1), (h, h + thick), ceiling)
    world.block((-w / 2 - thick, -w / 2), (-1.5, length), (0, h), wall)
    world.block((w / 2, w / 2 + thick), (-1.5, length), (0, h), wall)
    world.block((-w / 2, w / 2), (length, length + thick), (0, h), other)
    world.block((-w / 2, w / 2), (-1.5, -1.4), (0, h), wall)
    if rng.random() < 0.6:
        trim = palette.pick("white", "wood", "dark")
        world.block((-w / 2, w / 2), (length - 0.02, length), (0, 0.09), trim)
        for s in (-1, 1):
            world.box((s * (w / 2 - 0.01), length / 2, 0.045), (0.02, length + 2, 0.09), trim)
    if rng.random() < 0.25:
        beam = palette.pick("wood", "white", "dark")
        for y in np.arange(0.3, length, float(rng.uniform(0.7, 1.5))):
            world.box((0, y, h - 0.08), (w, 0.12, 0.16), beam)
    if rng.random() < 0.3:
        world.box(
            (float(rng.uniform(-0.3, 0.3)) * w, length * 0.55, 0.006),
            (min(w * 0.6, 2.5), min(length * 0.5, 3.0), 0.012),
            palette.fabric(),
        )


def _furnish(
    world: World,
    palette: Palette,
    rng: Rng,
    w: float,
    length: float,
    pieces: tuple[f.Piece, ...],
    count: int,
    eye: tuple[float, float],
) -> None:
    """Places pieces along the walls and on the floor without overlap, keeping clear of the camera."""
    taken: list[tuple[float, float, float]] = [(eye[0], eye[1], 0.7)]

    def free(x: float, y: float, radius: float) -> bool:
        return all(np.hypot(x - a, y - b) > 0.72 * (radius + r) for a, b, r in taken)

    for _ in range(count):
        piece = pieces[int(rng.integers(len(pieces)))]
        pw, pd, ph = piece.draw(rng)
        for _ in range(8):
            if piece.wall or rng.random() < 0.25:
                side = int(rng.choice([0, 1, 2], p=[0.5, 0.25, 0.25]))
                if side == 0:
                    x, y, yaw = float(rng.uniform(-0.5, 0.5)) * max(w - pw, 0.1), length - 0.02, 0.0
                else:
                    sign = 1 if side == 1 else -1
                    x, y, yaw = (
                        sign * (w / 2 - 0.02),
                        float(rng.uniform(0.6, max(length - pw / 2, 0.7))),
                        -sign * np.pi / 2,
                    )
            else:
                x, y, yaw = (
                    float(rng.uniform(-0.45, 0.45)) * w,
                    float(rng.uniform(0.9, max(length - 0.5, 1.0))),
                    float(rng.uniform(0, 6.3)),
                )
                if rng.random() < 0.5:
                    yaw = float(rng.integers(4)) * np.pi / 2
            cx, cy = x + np.sin(yaw) * pd / 2, y - np.cos(yaw) * pd / 2
            radius = 0.5 * float(np.hypot(pw, pd)) * 0.85
            if free(cx, cy, radius) and abs(cx) < w / 2 and cy < length:
                taken.append((cx, cy, radius))
                with world.at(x, y, 0, yaw):
                    piece.build(world, palette, rng, pw, pd, ph)
                break


def _hang(world: World, palette: Palette, rng: Rng, w: float, length: float, h: float) -> None:
    for y, x, yaw in ((length, 0.0, 0.0), (length * 0.6, w / 2, -np.pi / 2), (length * 0.6, -w / 2, np.pi / 2)):
        span = w if yaw == 0 else length
        for _ in range(int(rng.integers(1, 4))):
            along_wall = float(rng.uniform(-0.42, 0.42)) * span
            with world.at(x + np.cos(yaw) * along_wall, y + np.sin(yaw) * along_wall, 0, float(yaw)):
                _opening(world, palette, rng, h)


def _standing(
    rng: Rng,
    size: tuple[float, float, float],
    behind: tuple[float, float],
    height: tuple[float, float, float],
    ahead: float,
    aim: float,
) -> Viewpoint:
    """At the near end of a room of ``size`` (width, length, height), looking along it or into a corner.

    ``behind``: range of y; ``height``: mean, deviation and least height of the eye; ``ahead``: the target's y is at least this
    share of the length; ``aim``: its mean height.
    """
    w, length, h = size
    mean, deviation, least = height
    eye = (
        float(rng.uniform(-0.38, 0.38)) * w,
        float(rng.uniform(*behind)),
        float(np.clip(rng.normal(mean, deviation), least, h - 0.3)),
    )
    target = (
        float(rng.uniform(-0.4, 0.4)) * w,
        length * float(rng.uniform(ahead, 1.0)),
        float(np.clip(rng.normal(aim, 0.35), 0.1, 2.0)),
    )
    return Viewpoint.looking_at(eye, target, float(rng.normal(0, 0.03)), float(rng.uniform(0.85, 1.3)))


def _indoor(
    rng: Rng, aspect: float, pieces: tuple[f.Piece, ...], size: tuple[float, float, float], count: int
) -> tuple[Scene, Palette]:
    scene = Scene()
    palette = Palette(scene.materials, rng)
    w, length, h = size
    world = scene.world
    scene.camera = _standing(rng, size, behind=(-1.0, 0.25), height=(1.35, 0.3, 0.6), ahead=0.7, aim=0.85)
    eye = scene.camera.eye
    _shell(world, palette, rng, w, length, h)
    _hang(world, palette, rng, w, length, h)
    _furnish(world, palette, rng, w, length, pieces, count, (eye[0], eye[1]))
    if rng.random() < 0.06:  # someone close to the camera
        away = float(rng.uniform(1.0, 2.2))
        heading = scene.camera.yaw + float(rng.normal(0, 0.25))
        if away < length * 0.7:
            with world.at(
                eye[0] - np.sin(heading) * away, eye[1] + np.cos(heading) * away, 0, float(rng.uniform(0, 6.3))
            ):
                f.person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
    scatter_on_floor = int(rng.integers(0, 5))
    with world.at(0, length * 0.5):
        scatter(world, palette, rng, (w * 0.8, length * 0.8), scatter_on_floor, (0.1, 0.4), SMALL)
    if rng.random() < 0.4:
        with world.at(float(rng.uniform(-0.3, 0.3)) * w, length * 0.5, 0, float(rng.uniform(0, 6))):
            cable(world, palette, rng, 1.0)
    scene.light = _wall_light(rng, w, length, h, True)
    if rng.random() < 0.2:
        _sunlit(scene.light, rng, w, length, h)
    elif rng.random() < 0.5:
        x, y, z = scene.light.position
        world.tube((x, y, z), (x, y, h), 0.01, palette.dark())
        world.ball((x, y, z), (0.18, 0.18, 0.12), palette.lamp())
    elif rng.random() < 0.5:
        for y in np.arange(0.8, length, 1.8):
            world.box((scene.light.position[0], y, h - 0.01), (0.25, 1.1, 0.03), palette.lamp())
    scene.look.aperture = float(rng.choice([0, 0, 0.004]))
    scene.near = 0.35
    return scene, palette


def room(rng: Rng, aspect: float) -> Scene:
    """A furnished room seen from near one wall, at human height, looking along it or into a corner."""
    w, length, h = float(rng.uniform(2.4, 6.5)), float(rng.uniform(1.5, 6.5)), float(rng.uniform(2.3, 3.3))
    pieces = SETS[str(rng.choice(list(SETS)))]
    return _indoor(rng, aspect, pieces, (w, length, h), int(rng.integers(8, 22)))[0]


def workshop(rng: Rng, aspect: float) -> Scene:
    """Basements, garages, store rooms: rough walls, pipes and ducts under the ceiling, shelves, boxes, boilers."""
    w, length, h = float(rng.uniform(3, 7)), float(rng.uniform(3, 8)), float(rng.uniform(2.1, 3.2))
    scene, palette = _indoor(rng, aspect, SETS["store"], (w, length, h), int(rng.integers(10, 26)))
    world = scene.world
    for _ in range(int(rng.integers(1, 5))):
        x, z, radius = (
            float(rng.uniform(-0.5, 0.5)) * w,
            h - float(rng.uniform(0.08, 0.4)),
            float(rng.uniform(0.02, 0.12)),
        )
        pipe = palette.pick("metal", "white", "dark")
        if rng.random() < 0.5:
            world.tube((x, -1, z), (x, length, z), radius, pipe)
        else:
            y = float(rng.uniform(0.8, 1.0)) * length
            world.tube((-w / 2, y, z), (w / 2, y, z), radius, pipe)
            world.tube((x, y, 0), (x, y, z), radius, pipe)
    if rng.random() < 0.5:
        world.box((float(rng.uniform(-0.4, 0.4)) * w, length * 0.5, h - 0.2), (0.4, length, 0.35), palette.metal())
    if rng.random() < 0.4:
        world.box(
            (float(rng.uniform(-0.3, 0.3)) * w, length * float(rng.uniform(0.4, 0.8)), h / 2),
            (0.25, 0.25, h),
            palette.pick("metal", "concrete", "wood"),
        )
    return scene


def library(rng: Rng, aspect: float) -> Scene:
    """Shelves along the walls or in aisles, mostly full of books, a sofa or table between."""
    scene = Scene()
    palette = Palette(scene.materials, rng)
    world = scene.world
    w, length, h = float(rng.uniform(2.0, 6)), float(rng.uniform(2.5, 8)), float(rng.uniform(2.4, 3.6))
    _shell(world, palette, rng, w, length, h)
    tall = h * float(rng.uniform(0.7, 0.98))
    deep = float(rng.uniform(0.25, 0.4))
    with world.at(0, length):
        f.shelf(world, palette, rng, w, deep, tall)
    for sign in (-1, 1):
        if rng.random() < 0.55:
            start = float(rng.uniform(1.2, 2))
            if length - start > 1:
                with world.at(sign * w / 2, (start + length) / 2, 0, -sign * np.pi / 2):
                    f.shelf(world, palette, rng, length - start, deep, tall)
    eye = (float(rng.uniform(-0.3, 0.3)) * w, float(rng.uniform(-0.8, 0.2)), float(rng.uniform(1.1, 1.8)))
    _furnish(
        world,
        palette,
        rng,
        w - 2 * deep,
        length - deep,
        (f.SOFA, f.ARMCHAIR, f.TABLE, f.CHAIR, f.STOOL, f.PERSON, f.LAMP),
        int(rng.integers(0, 5)),
        (eye[0], eye[1]),
    )
    target = (float(rng.uniform(-0.5, 0.5)) * w, length, float(rng.uniform(0.5, 1.5)))
    if rng.random() < 0.35:  # close to the shelf
        eye = (eye[0], max(length - deep - float(rng.uniform(0.9, 2.2)), eye[1]), eye[2])
    scene.camera = Viewpoint.looking_at(eye, target, float(rng.normal(0, 0.03)), float(rng.uniform(0.9, 1.3)))
    scene.light = _wall_light(rng, w, length, h, rng.random() < 0.5)
    scene.near = 0.35
    return scene


def corridor(rng: Rng, aspect: float) -> Scene:
    """A long narrow room with doors and lamps; or a hall with rows of columns."""
    hall = rng.random() < 0.35
    w = float(rng.uniform(5, 12)) if hall else float(rng.uniform(1.4, 2.8))
    length, h = float(rng.uniform(8, 30)), float(rng.uniform(3.5, 7)) if hall else float(rng.uniform(2.3, 3.2))
    scene, palette = _indoor(
        rng, aspect, SETS["dining"] if hall else SETS["office"], (w, length, h), int(rng.integers(0, 8))
    )
    world = scene.world
    if hall:
        stone, radius = palette.pick("concrete", "white", "marble"), float(rng.uniform(0.15, 0.4))
        for y in np.arange(1.5, length, float(rng.uniform(2, 4))):
            for s in (-1, 1):
                world.tube((s * w * 0.3, y, 0), (s * w * 0.3, y, h), radius, stone)
                world.box((s * w * 0.3, y, h - 0.2), (radius * 3, radius * 3, 0.25), stone)
    else:
        leaf, frame = palette.pick("wood", "paint", "white"), palette.pick("white", "wood", "dark")
        for y in np.arange(1.0, length - 0.6, float(rng.uniform(1.6, 3.5))):
            for s in (-1, 1):
                if rng.random() < 0.75:
                    world.box((s * (w / 2 - 0.01), y, 1.05), (0.05, 1.02, 2.1), frame)
                    world.box((s * (w / 2 - 0.02), y, 1.0), (0.06, 0.88, 2.0), leaf)
    eye = (float(rng.uniform(-0.25, 0.25)) * w, float(rng.uniform(-1, 1)), float(rng.uniform(1.2, 1.8)))
    target = (float(rng.uniform(-0.15, 0.15)) * w, length, float(rng.uniform(0.6, 1.8)))
    scene.camera = Viewpoint.looking_at(eye, target, float(rng.normal(0, 0.03)), float(rng.uniform(0.85, 1.3)))
    return scene


__all__ = ["corridor", "library", "room", "turn", "workshop"]
