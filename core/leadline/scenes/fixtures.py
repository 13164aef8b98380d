"""Fixtures of bathrooms and kitchens. Each stands on z = 0 with its back at y = 0 and its front towards −y, centred in x."""

from __future__ import annotations

import numpy as np

from . import furniture as f
from .palette import Palette
from .things import ON_FURNITURE, basket, bottle, can, mug, scatter
from .world import World

Rng = np.random.Generator


def basin(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """A basin on a cabinet, a counter or a column, a tap, and a mirror above."""
    china, steel = palette.white(), palette.metal()
    wide, deep, z = float(rng.uniform(0.5, 1.4)), float(rng.uniform(0.42, 0.6)), float(rng.uniform(0.78, 0.92))
    kind = rng.random()
    if kind < 0.65:
        f.cabinet(world, palette, rng, wide, deep, z - 0.03)
    elif kind < 0.85:
        world.tube((0, -deep / 2, 0), (0, -deep / 2, z), 0.1, china, 0.14)
    world.box((0, -deep / 2, z), (wide, deep, 0.05), palette.pick("white", "marble") if kind < 0.65 else china)
    world.ball((0, -deep / 2, z + 0.05), (min(wide, 0.55) / 2, deep * 0.42, 0.13), china, cut=0.0)
    world.tube((0, -0.1, z), (0, -0.1, z + 0.2), 0.015, steel)
    world.tube((0, -0.1, z + 0.2), (0, -0.26, z + 0.17), 0.013, steel)
    with world.at(wide * 0.3 * float(rng.choice([-1, 1])), -deep / 2, z + 0.03):
        scatter(world, palette, rng, (wide * 0.3, deep * 0.6), int(rng.integers(0, 5)), (0.06, 0.2), (bottle, can, mug))
    if rng.random() < 0.85:
        across, tall = wide * float(rng.uniform(0.6, 1.1)), float(rng.uniform(0.5, 1.0))
        thick = 0.02 if rng.random() < 0.6 else 0.14
        world.box((0, -thick / 2, z + 0.3 + tall / 2), (across, thick, tall), palette.pick("metal", "white", "wood"))
        mirror = palette.pick("glass", "glass", "wall")
        world.box((0, -thick / 2 - 0.01, z + 0.3 + tall / 2), (across * 0.94, thick, tall * 0.94), mirror)
    if rng.random() < 0.5:
        world.tube((-0.25, -0.1, min(h - 0.1, 2.0)), (0.25, -0.1, min(h - 0.1, 2.0)), 0.05, palette.lamp())


def toilet(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """A toilet with its cistern, the lid down or up, perhaps a roll of paper beside it."""
    china = palette.white() if rng.random() < 0.85 else palette.paint()
    world.box((0, -0.1, 0.58), (0.4, 0.18, 0.36), china)
    world.tube((0, -0.36, 0), (0, -0.36, 0.2), 0.13, china, 0.11)
    world.ball((0, -0.42, 0.38), (0.2, 0.28, 0.24), china, cut=0.0)
    world.box((0, -0.4, 0.4), (0.36, 0.42, 0.03), china)
    if rng.random() < 0.3:  # lid up
        world.box((0, -0.21, 0.62), (0.36, 0.03, 0.44), china)
    if rng.random() < 0.5:
        world.tube((0.3, -0.06, 0.7), (0.42, -0.06, 0.7), 0.055, palette.white())


def bath(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """A bath along the wall, panelled or of china, with taps and perhaps a curtain."""
    china = palette.white()
    long, deep, tall, rim = (
        float(rng.uniform(1.3, 1.8)),
        float(rng.uniform(0.65, 0.8)),
        float(rng.uniform(0.45, 0.62)),
        0.07,
    )
    side = palette.pick("white", "panels", "wood") if rng.random() < 0.5 else china
    for end in (-1, 1):
        world.box((end * (long - rim) / 2, -deep / 2, tall / 2), (rim, deep, tall), china)
    world.box((0, -rim / 2, tall / 2), (long, rim, tall), china)
    world.box((0, -deep + rim / 2, tall / 2), (long, rim, tall), side)
    world.box((0, -deep / 2, 0.12), (long, deep, 0.06), china)
    steel = palette.metal()
    world.tube((long * 0.35, -0.08, tall + 0.15), (long * 0.35, -0.2, tall + 0.15), 0.02, steel)
    if rng.random() < 0.45:
        top, cloth = min(h - 0.15, 2.05), palette.pick("fabric", "white", "paint")
        world.tube((-long / 2, -deep, top), (long / 2, -deep, top), 0.015, steel)
        x, drawn = -long / 2, long * float(rng.uniform(-0.35, 0.5))
        while x < drawn:
            world.tube((x, -deep + 0.03 * float(rng.normal()), 0.15), (x, -deep, top), 0.04, cloth)
            x += 0.07


def shower(world: World, palette: Palette, rng: Rng, h: float) -> None:
    """A tray in the corner behind panes in bars, a pipe with its head on the wall."""
    steel = palette.metal()
    wide, tall = float(rng.uniform(0.75, 1.1)), float(rng.uniform(1.8, 2.1))
    world.box((0, -wide / 2, 0.06), (wide, wide, 0.12), palette.white())
    for x in (-wide / 2, 0.0, wide / 2):
        world.box((x, -wide, tall / 2), (0.03, 0.03, tall), steel)
    for z in (0.12, tall):
        world.box((0, -wide, z), (wide, 0.03, 0.04), steel)
    if rng.random() < 0.6:
        world.box((-wide / 4, -wide, tall / 2), (wide / 2, 0.015, tall), palette.pick("glass", "white", "metal"))
    world.tube((0, -0.05, 0.9), (0, -0.05, 2.0), 0.012, steel)
    world.tube((0, -0.05, 2.0), (0, -0.3, 1.95), 0.012, steel)
    world.tube((0, -0.3, 1.95), (0, -0.3, 1.9), 0.04, steel, 0.09)


def towel(world: World, palette: Palette, rng: Rng) -> None:
    """Cloth over a rail."""
    wide, tall, z = float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.3, 0.9)), float(rng.uniform(1.1, 1.7))
    world.tube((-wide * 0.6, -0.06, z), (wide * 0.6, -0.06, z), 0.012, palette.metal())
    world.box((0, -0.07, z - tall / 2), (wide, 0.04, tall), palette.pick("fabric", "white", "fabric"))


def counter(world: World, palette: Palette, rng: Rng, wide: float, front: int, top: int) -> None:
    """Kitchen units of 0.6 m with doors, drawers or an oven under one top, things standing on it."""
    deep, z = 0.6, 0.88
    world.box((0, -deep / 2 + 0.02, z / 2 + 0.05), (wide, deep - 0.06, z - 0.1), palette.pick("white", "wood", "dark"))
    world.box((0, -deep / 2, z + 0.02), (wide + 0.02, deep + 0.03, 0.04), top)
    handle = palette.metal()
    units = max(1, round(wide / 0.55))
    step = wide / units
    for k in range(units):
        x = -wide / 2 + (k + 0.5) * step
        if rng.random() < 0.14:
            world.box(
                (x, -deep + 0.01, z / 2 + 0.05), (step - 0.02, 0.04, z - 0.15), palette.pick("dark", "metal", "glass")
            )
            world.tube(
                (x - step * 0.35, -deep - 0.05, z * 0.75), (x + step * 0.35, -deep - 0.05, z * 0.75), 0.012, handle
            )
            world.box((x, -deep / 2, z + 0.045), (step * 0.9, deep * 0.8, 0.012), palette.dark())
            continue
        rows = int(rng.choice([1, 1, 2, 3]))
        for r in range(rows):
            tall = (z - 0.12) / rows
            middle = 0.1 + (r + 0.5) * tall
            world.box((x, -deep + 0.01, middle), (step - 0.015, 0.025, tall - 0.015), front)
            world.box((x, -deep - 0.015, middle + tall * 0.35), (step * 0.35, 0.015, 0.015), handle)
    with world.at(0, -deep / 2, z + 0.04):
        things = (*ON_FURNITURE, bottle, can, mug, basket)
        scatter(
            world, palette, rng, (wide * 0.9, deep * 0.7), int(rng.integers(1, 4 + int(3 * wide))), (0.08, 0.35), things
        )


def units(world: World, palette: Palette, rng: Rng, span: float, h: float, front: int, top: int, tile: int) -> None:
    """A kitchen wall: fridge at one end, a counter with a sink, tiles, cupboards and a hood above."""
    end = float(rng.choice([-1, 1]))
    fridge = float(rng.uniform(0.55, 0.8)) if rng.random() < 0.6 and span > 1.6 else 0.0
    if fridge:
        with world.at(end * (span - fridge) / 2, 0):
            tall, body = float(rng.uniform(1.3, 2.0)), palette.pick("white", "metal", "dark", "paint")
            world.box((0, -0.32, tall / 2), (fridge, 0.62, tall), body)
            world.box((0, -0.65, tall * 0.35), (fridge - 0.02, 0.04, tall * 0.64), body)
            world.box((0, -0.65, tall * 0.84), (fridge - 0.02, 0.04, tall * 0.3), body)
            world.box((-fridge * 0.4, -0.69, tall * 0.5), (0.02, 0.03, 0.5), palette.metal())
    wide = span - fridge - 0.05
    with world.at(-end * fridge / 2, 0):
        counter(world, palette, rng, wide, front, top)
        world.box((0, -0.005, 1.17), (wide, 0.012, 0.55), tile)
        x = float(rng.uniform(-0.35, 0.35)) * wide
        world.box((x, -0.3, 0.925), (0.5, 0.38, 0.012), palette.metal())
        world.tube((x, -0.08, 0.9), (x, -0.08, 1.15), 0.014, palette.metal())
        world.tube((x, -0.08, 1.15), (x, -0.25, 1.13), 0.012, palette.metal())
        if rng.random() < 0.75:
            cupboards(world, palette, rng, wide, h, front)


def cupboards(world: World, palette: Palette, rng: Rng, wide: float, h: float, front: int) -> None:
    """A row of wall cupboards with gaps: a hood, open boards, or nothing."""
    foot, tall, deep = float(rng.uniform(1.38, 1.55)), float(rng.uniform(0.5, 0.75)), float(rng.uniform(0.28, 0.36))
    tall = min(tall, h - foot - 0.02)
    units = max(1, round(wide / 0.5))
    step = wide / units
    body = palette.pick("white", "wood", "dark")
    for k in range(units):
        x, kind = -wide / 2 + (k + 0.5) * step, rng.random()
        if kind < 0.7:
            world.box((x, -deep / 2, foot + tall / 2), (step, deep, tall), body)
            world.box((x, -deep, foot + tall / 2), (step - 0.015, 0.025, tall - 0.015), front)
        elif kind < 0.8:
            world.tube((x, -deep / 2, foot + 0.1), (x, -deep / 2, foot + 0.3), step * 0.45, palette.metal(), 0.1)
            world.box((x, -deep / 2, (foot + 0.3 + h) / 2), (0.2, 0.2, h - foot - 0.3), palette.metal())
        elif kind < 0.92:
            world.box((x, -deep / 2, foot + 0.02), (step, deep, 0.025), body)
            with world.at(x, -deep / 2, foot + 0.033):
                scatter(
                    world, palette, rng, (step * 0.8, deep * 0.6), int(rng.integers(1, 4)), (0.08, 0.25), ON_FURNITURE
                )
