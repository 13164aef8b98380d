"""Furniture. Each piece stands on z = 0 with its back at y = 0, its front towards −y, centred in x, inside w × d × h metres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .palette import Palette
from .things import ON_FURNITURE, basket, carton, figure, plant, scatter, turned
from .world import World, turn

Rng = np.random.Generator
Build = Callable[[World, Palette, Rng, float, float, float], None]


@dataclass
class Piece:
    """A kind of furniture: how to build it and the ranges of its width, depth and height in metres."""

    build: Build
    width: tuple[float, float]
    depth: tuple[float, float]
    height: tuple[float, float]
    wall: bool = True  # stands with its back to a wall; otherwise free on the floor

    def draw(self, rng: Rng) -> tuple[float, float, float]:
        """A size."""
        w, d, h = (float(rng.uniform(*r)) for r in (self.width, self.depth, self.height))
        return w, d, h


def _legs(world: World, w: float, d: float, h: float, thick: float, material: int) -> None:
    for x in (-w / 2 + thick, w / 2 - thick):
        for y in (-thick, -d + thick):
            world.box((x, y, h / 2), (thick, thick, h), material)


def table(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A table with things on it."""
    top, leg = palette.pick("wood", "wood", "white", "paint", "marble"), palette.pick("wood", "metal", "dark")
    thick = float(rng.uniform(0.02, 0.06))
    if rng.random() < 0.25:
        world.tube((0, -d / 2, h - thick), (0, -d / 2, h), d / 2, top)
        world.tube((0, -d / 2, 0), (0, -d / 2, h - thick), 0.05, leg)
        world.tube((0, -d / 2, 0), (0, -d / 2, 0.03), d / 4, leg)
    else:
        world.box((0, -d / 2, h - thick / 2), (w, d, thick), top)
        _legs(world, w, d, h - thick, float(rng.uniform(0.03, 0.08)), leg)
        if rng.random() < 0.3:
            world.box((0, -d / 2, h * 0.3), (w * 0.9, d * 0.8, 0.02), top)
    with world.at(0, -d / 2, h):
        scatter(world, palette, rng, (w * 0.8, d * 0.8), int(rng.integers(0, 9)), (0.08, 0.3), ON_FURNITURE)


def chair(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A chair, four legs or a swivel foot."""
    seat, frame = palette.pick("wood", "fabric", "paint", "dark"), palette.pick("wood", "metal", "dark")
    z = h * 0.5
    world.box((0, -d / 2, z), (w, d, 0.05), seat)
    if rng.random() < 0.7:
        _legs(world, w, d, z, 0.035, frame)
    else:
        world.tube((0, -d / 2, 0.06), (0, -d / 2, z), 0.03, frame)
        for a in np.linspace(0, 6.28, 6)[:-1]:
            world.tube((0, -d / 2, 0.08), (np.cos(a) * w * 0.5, -d / 2 + np.sin(a) * w * 0.5, 0.04), 0.02, frame)
    lean = float(rng.uniform(0, 0.2))
    with world.at(0, -0.02, z, 0, -lean):
        if rng.random() < 0.5:
            world.box((0, 0, (h - z) * 0.55), (w, 0.04, (h - z) * 0.9), seat)
        else:
            for s in (-0.45, 0.45):
                world.box((s * w, 0, (h - z) / 2), (0.03, 0.03, h - z), frame)
            for k in (0.4, 0.65, 0.92):
                world.box((0, 0, (h - z) * k), (w * 0.9, 0.02, 0.06), frame)
    if rng.random() < 0.35:
        for s in (-1, 1):
            world.box((s * w * 0.5, -d * 0.5, z + 0.2), (0.04, d * 0.8, 0.04), frame)
            world.box((s * w * 0.5, -d * 0.8, z + 0.1), (0.03, 0.03, 0.2), frame)


def sofa(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A sofa or armchair with cushions; soft edges are half-sunk tubes."""
    cloth = palette.fabric()
    arm, back, seat = float(rng.uniform(0.1, 0.24)), float(rng.uniform(0.15, 0.28)), h * float(rng.uniform(0.42, 0.52))
    world.box((0, -d / 2, seat * 0.5), (w - 0.04, d - 0.04, seat * 0.7), cloth)
    world.box((0, -back / 2, h * 0.5), (w, back, h * 0.94), cloth)
    world.tube((-w / 2, -back / 2, h * 0.96), (w / 2, -back / 2, h * 0.96), back / 2, cloth)
    arm_height = h * float(rng.uniform(0.6, 0.85))
    for s in (-1, 1):
        x = s * (w - arm) / 2
        world.box((x, -d / 2, arm_height / 2), (arm, d, arm_height), cloth)
        world.tube((x, 0, arm_height), (x, -d, arm_height), arm * 0.56, cloth)
    inner = w - 2 * arm
    count = max(1, round(inner / 0.65))
    for i in range(count):
        x = -inner / 2 + (i + 0.5) * inner / count
        world.box((x, -(d + back) / 2, seat * 0.93), (inner / count - 0.02, d - back, seat * 0.3), cloth)
        world.ball((x, -(d + back) / 2, seat * 1.03), (inner / count * 0.5, (d - back) * 0.5, seat * 0.12), cloth)
    for _ in range(int(rng.integers(0, 4))):
        x = float(rng.uniform(-0.5, 0.5)) * inner
        world.ball(
            (x, -back - 0.1, seat + 0.24),
            (0.24, 0.09, 0.22),
            palette.fabric(),
            rotation=turn(float(rng.normal(0, 0.3)), -0.35, float(rng.normal(0, 0.3))),
        )
    if rng.random() < 0.3:
        world.ball((float(rng.uniform(-0.3, 0.3)) * w, -d * 0.5, seat + 0.02), (0.5, d * 0.5, 0.07), palette.fabric())


def shelf(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """An open shelf: boards and uprights, rows of books, some things."""
    board = palette.pick("wood", "wood", "white", "metal", "dark")
    spines = [palette.books() for _ in range(2)]
    thick = float(rng.uniform(0.015, 0.04))
    bays, rows = max(1, round(w / rng.uniform(0.4, 0.95))), max(2, round(h / rng.uniform(0.27, 0.42)))
    world.box((0, -0.006, h / 2), (w, 0.012, h), board)
    for i in range(bays + 1):
        world.box((-w / 2 + i * (w - thick) / bays + thick / 2, -d / 2, h / 2), (thick, d, h), board)
    for k in range(rows + 1):
        world.box((0, -d / 2, thick / 2 + k * (h - thick) / rows), (w, d, thick), board)
    step, bay = (h - thick) / rows, w / bays
    full = float(rng.uniform(0.2, 0.98))
    for k in range(rows):
        for i in range(bays):
            x, z = -w / 2 + i * bay, k * step + thick
            if rng.random() < full:
                length = (bay - 2 * thick) * float(rng.uniform(0.5, 1.0))
                tall, deep = step * float(rng.uniform(0.7, 0.9)), d * float(rng.uniform(0.55, 0.9))
                world.block((x + thick, x + thick + length), (-deep, -0.02), (z, z + tall), spines[(i + k) % 2])
                if rng.random() < 0.3:
                    world.box(
                        (x + length + 0.06, -deep / 2, z + tall * 0.45),
                        (0.03, deep * 0.8, tall * 0.9),
                        palette.printed(),
                        turn(0, 0, -0.25),
                    )
            elif rng.random() < 0.6:
                with world.at(x + bay / 2, -d / 2, z):
                    scatter(
                        world,
                        palette,
                        rng,
                        (bay * 0.8, d * 0.7),
                        int(rng.integers(1, 4)),
                        (0.08, step * 0.7),
                        (*ON_FURNITURE[:-3], carton),
                    )


def cabinet(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A chest, wardrobe, fridge or kitchen block: body, fronts standing out, a top plate, things on top when low."""
    body, front, knob = (
        palette.pick("wood", "white", "paint", "metal", "panels"),
        palette.pick("wood", "white", "paint"),
        palette.metal(),
    )
    world.box((0, -d / 2, h / 2), (w, d - 0.02, h), body)
    columns, rows = max(1, round(w / rng.uniform(0.35, 0.7))), int(rng.integers(1, 5))
    if rng.random() < 0.85:
        a, b = w / columns, (h - 0.1) / rows
        for i in range(columns):
            for k in range(rows):
                x, z = -w / 2 + (i + 0.5) * a, 0.07 + (k + 0.5) * b
                world.box((x, -d + 0.005, z), (a - 0.015, 0.025, b - 0.015), front)
                world.box(
                    (x + (0 if rows > 2 else a * 0.38), -d - 0.015, z),
                    (0.1 if rows > 2 else 0.015, 0.02, 0.015 if rows > 2 else 0.12),
                    knob,
                )
    if h < 1.4:
        world.box((0, -d / 2, h + 0.012), (w + 0.03, d + 0.03, 0.024), palette.pick("wood", "marble", "white", "dark"))
        with world.at(0, -d / 2, h + 0.024):
            scatter(world, palette, rng, (w * 0.9, d * 0.7), int(rng.integers(0, 8)), (0.1, 0.4), ON_FURNITURE)


def bed(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A bed with headboard, duvet and pillows."""
    frame, cloth = palette.pick("wood", "fabric", "dark", "white"), palette.pick("fabric", "fabric", "white")
    world.box((0, -d / 2, h * 0.35), (w, d, h * 0.4), frame)
    world.box((0, -d / 2, h * 0.72), (w * 0.97, d * 0.98, h * 0.4), palette.white())
    world.box((0, -d * 0.62, h * 0.8), (w * 1.02, d * 0.72, h * 0.36), cloth)
    world.ball((0, -d * 0.6, h * 0.95), (w * 0.55, d * 0.4, h * 0.14), cloth)
    world.box((0, -0.03, h * 1.0), (w * 1.04, 0.06, h * float(rng.uniform(1.3, 2.2))), frame)
    for s in (-0.25, 0.25) if w > 1.2 else (0.0,):
        world.ball(
            (s * w, -0.28, h * 1.02),
            (w * 0.21 if w > 1.2 else w * 0.36, 0.22, 0.1),
            palette.pick("white", "fabric"),
            rotation=turn(0, 0.25),
        )


def desk(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A desk with a chair pushed in front of it."""
    table(world, palette, rng, w, d, h)
    with world.at(float(rng.uniform(-0.3, 0.3)) * w, -d - 0.35, 0, np.pi + float(rng.normal(0, 0.4))):
        chair(world, palette, rng, 0.45, 0.45, float(rng.uniform(0.8, 1.1)))


def dining(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A table with chairs round it."""
    table(world, palette, rng, w, d, h)
    for i in range(max(1, int(w / 0.7))):
        x = -w / 2 + (i + 0.5) * w / max(1, int(w / 0.7))
        for y, yaw in ((0.15, 0.0), (-d - 0.15, np.pi)):
            if rng.random() < 0.8:
                with world.at(x, y + float(rng.normal(0, 0.1)), 0, yaw + float(rng.normal(0, 0.25))):
                    chair(world, palette, rng, 0.44, 0.45, 0.9)


def floor_lamp(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A pole with a shade."""
    pole = palette.pick("metal", "dark", "wood")
    world.tube((0, -d / 2, 0), (0, -d / 2, 0.03), w * 0.4, pole)
    world.tube((0, -d / 2, 0), (0, -d / 2, h * 0.85), 0.015, pole)
    shade = palette.lamp(float(rng.uniform(1, 5))) if rng.random() < 0.5 else palette.fabric()
    world.tube((0, -d / 2, h * 0.8), (0, -d / 2, h), w * 0.5, shade, w * 0.3, open_top=True)


def green(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A large pot plant."""
    with world.at(0, -d / 2):
        plant(world, palette, rng, h)


def boxes(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A heap of cartons and tubs."""
    z = 0.0
    while z < h - 0.15:
        tall, shrink = float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.6, 1))
        tall = min(tall, h - z)
        world.box(
            (float(rng.normal(0, 0.03)), -d / 2, z + tall / 2),
            (w * shrink, d * shrink, tall),
            palette.pick("cardboard", "paint", "white", "printed"),
            turn(float(rng.normal(0, 0.15))),
        )
        z += tall


def person(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A standing or walking person of capsules; ``h`` is the height."""
    trousers, shirt, skin, hair = palette.fabric(), palette.fabric(), palette.skin(), palette.pick("dark", "fur")
    y, hip, shoulder = -d / 2, h * 0.5, h * 0.82
    stride = float(rng.uniform(0, 0.25)) * h
    for s in (-1, 1):
        knee = (s * h * 0.055, y + s * stride * 0.45, h * 0.27)
        world.capsule((s * h * 0.05, y, hip), knee, h * 0.05, trousers)
        world.capsule(knee, (s * h * 0.055, y + s * stride * 0.6, h * 0.04), h * 0.038, trousers)
        world.box((s * h * 0.055, y + s * stride * 0.6 - h * 0.03, h * 0.02), (h * 0.05, h * 0.14, h * 0.04), hair)
        elbow = (s * h * 0.15, y - s * stride * 0.3, h * 0.64)
        world.capsule((s * h * 0.115, y, shoulder - h * 0.01), elbow, h * 0.032, shirt)
        world.capsule(
            elbow,
            (s * h * 0.14, y - s * stride * 0.5 - h * 0.04, h * 0.5),
            h * 0.026,
            skin if rng.random() < 0.5 else shirt,
        )
    world.ball((0, y, (hip + shoulder) / 2 + 0.01 * h), (h * 0.115, h * 0.075, h * 0.2), shirt)
    world.tube((0, y, hip - 0.03 * h), (0, y, shoulder), h * 0.085, shirt, h * 0.1)
    world.tube((0, y, shoulder), (0, y, h * 0.9), h * 0.035, skin)
    world.ball((0, y, h * 0.93), (h * 0.047, h * 0.058, h * 0.07), skin)
    world.ball((0, y + h * 0.01, h * 0.95), (h * 0.05, h * 0.058, h * 0.06), hair)


def heater(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A boiler, a bin or a column."""
    shell, pipe = palette.pick("white", "metal", "paint"), palette.metal()
    world.tube((0, -d / 2, 0.06), (0, -d / 2, h), min(w, d) / 2, shell)
    for s in (-0.15, 0.15):
        world.tube((s * w, -d / 2, h), (s * w, -d / 2, h + 0.8), 0.02, pipe)


def stairs(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A flight of steps with a rail, climbing towards the wall."""
    step, rail = palette.pick("wood", "concrete", "white"), palette.pick("wood", "metal", "dark")
    count = max(3, int(h / 0.18))
    for i in range(count):
        world.block((-w / 2, w / 2), (-d + i * d / count, 0), (i * h / count, (i + 1) * h / count), step)
    for s in (-1, 1):
        world.tube((s * w / 2, -d, 0.95), (s * w / 2, 0, h + 0.95), 0.03, rail)
        for i in range(0, count, 2):
            world.tube(
                (s * w / 2, -d + (i + 0.5) * d / count, (i + 1) * h / count),
                (s * w / 2, -d + (i + 0.5) * d / count, (i + 1) * h / count + 0.9),
                0.012,
                rail,
            )


def stool(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """An ottoman, pouffe, crate, or low table."""
    roll = rng.random()
    if roll < 0.4:
        cloth = palette.fabric()
        world.box((0, -d / 2, h * 0.5), (w, d, h * 0.9), cloth)
        world.ball((0, -d / 2, h * 0.93), (w * 0.5, d * 0.5, h * 0.14), cloth)
    elif roll < 0.7:
        with world.at(0, -d / 2):
            basket(world, palette, rng, min(w, d))
    else:
        table(world, palette, rng, w, d, h)


def ornament(world: World, palette: Palette, rng: Rng, w: float, d: float, h: float) -> None:
    """A statue or big vase on a plinth."""
    world.box((0, -d / 2, h * 0.25), (w, d, h * 0.5), palette.pick("white", "wood", "concrete", "marble"))
    with world.at(0, -d / 2, h * 0.5):
        (turned if rng.random() < 0.5 else figure)(world, palette, rng, h * 0.5)


TABLE = Piece(table, (0.6, 1.6), (0.4, 0.9), (0.4, 0.78), wall=False)
DINING = Piece(dining, (0.9, 2.2), (0.7, 1.0), (0.7, 0.78), wall=False)
CHAIR = Piece(chair, (0.4, 0.55), (0.4, 0.55), (0.75, 1.1), wall=False)
SOFA = Piece(sofa, (1.4, 2.6), (0.8, 1.05), (0.7, 0.95))
ARMCHAIR = Piece(sofa, (0.75, 1.05), (0.75, 0.95), (0.75, 1.0), wall=False)
SHELF = Piece(shelf, (0.6, 2.6), (0.22, 0.45), (0.9, 2.4))
CABINET = Piece(cabinet, (0.5, 2.2), (0.35, 0.65), (0.5, 2.1))
COUNTER = Piece(cabinet, (1.2, 3.0), (0.55, 0.65), (0.85, 0.95))
BED = Piece(bed, (0.9, 1.9), (1.9, 2.1), (0.4, 0.6))
DESK = Piece(desk, (1.0, 1.8), (0.5, 0.8), (0.7, 0.78))
LAMP = Piece(floor_lamp, (0.3, 0.5), (0.3, 0.5), (1.3, 1.9))
PLANT = Piece(green, (0.5, 0.8), (0.5, 0.8), (0.6, 1.8))
BOXES = Piece(boxes, (0.3, 0.7), (0.3, 0.6), (0.3, 1.6))
PERSON = Piece(person, (0.5, 0.5), (0.4, 0.4), (1.5, 1.9), wall=False)
HEATER = Piece(heater, (0.4, 0.7), (0.4, 0.7), (0.7, 1.7))
STAIRS = Piece(stairs, (0.8, 1.3), (2.0, 3.2), (1.6, 2.6))
STOOL = Piece(stool, (0.4, 0.9), (0.4, 0.7), (0.3, 0.5), wall=False)
ORNAMENT = Piece(ornament, (0.25, 0.5), (0.25, 0.5), (0.8, 1.6))
