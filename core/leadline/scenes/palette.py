"""Random materials by what they are for. Brightness is drawn independently of where a thing stands."""

from __future__ import annotations

import colorsys

import numpy as np

from .materials import Material, Materials
from .patterns import Pattern

RGB = tuple[float, float, float]
_PRINTED = (Pattern.POSTER, Pattern.TEXT, Pattern.PHOTO, Pattern.POSTER)
_CLOTH = (
    Pattern.PLAIN,
    Pattern.PLAIN,
    Pattern.STRIPES,
    Pattern.PLAID,
    Pattern.FLOWERS,
    Pattern.CLOUDY,
    Pattern.SPECKLE,
)


class Palette:
    """Draws materials into ``materials`` with ``rng``; every method returns a material index."""

    def __init__(self, materials: Materials, rng: np.random.Generator) -> None:
        self._materials, self._rng = materials, rng

    def colour(self, low: float = 0.02, high: float = 0.9, purity: float = 0.6) -> RGB:
        """Every hue, warm ones more often; reflectance from ``low`` to ``high``, dark ones more often."""
        rng = self._rng
        hue = float(rng.normal(0.085, 0.06)) % 1.0 if rng.random() < 0.5 else float(rng.random())
        value = float(
            np.exp(rng.uniform(np.log(max(low, 0.015)), np.log(high))) if rng.random() < 0.5 else rng.uniform(low, high)
        )
        red, green, blue = colorsys.hsv_to_rgb(hue, float(min(rng.beta(1.1, 1.2) * purity * 1.6, 1)), value)
        return red, green, blue

    def near(self, base: RGB, spread: float = 0.25) -> RGB:
        """A relative of ``base``."""
        gain = float(np.exp(self._rng.normal(0, spread)))
        r, g, b = (float(np.clip(v * gain * np.exp(self._rng.normal(0, spread * 0.3)), 0.01, 0.93)) for v in base)
        return r, g, b

    def make(
        self, a: RGB, b: RGB | None = None, c: RGB | None = None, pattern: Pattern = Pattern.PLAIN, **more: float
    ) -> int:
        """A material with the rest of its numbers drawn."""
        rng = self._rng
        settings: dict[str, float] = {
            "scale": float(np.exp(rng.uniform(np.log(0.05), np.log(0.5)))),
            "dirt": float(rng.uniform(0.02, 0.3)),
            "dirt_scale": float(np.exp(rng.uniform(np.log(0.1), np.log(1.5)))),
            "salt": float(rng.integers(0, 4000)),
            **more,
        }
        second = b or self.near(a, 0.5)
        return self._materials.add(Material(a, second, c or self.colour(), pattern, **settings))

    def pick(self, *names: str) -> int:
        """A material of one of the named sorts."""
        name = names[int(self._rng.integers(len(names)))]
        made: int = getattr(self, name)()
        return made

    def wood(self) -> int:
        """Raw, stained or painted boards."""
        rng = self._rng
        tone = float(rng.uniform(0.04, 0.55))
        a = (tone, tone * float(rng.uniform(0.45, 0.85)), tone * float(rng.uniform(0.2, 0.6)))
        pattern = Pattern.WOOD if rng.random() < 0.7 else Pattern.PLANKS
        return self.make(
            a,
            self.near(a, 0.35),
            self.near((a[0] * 0.4, a[1] * 0.4, a[2] * 0.4)),
            pattern,
            scale=float(rng.uniform(0.06, 0.25)),
            angle=float(rng.integers(2)) * np.pi / 2,
            gloss=float(rng.choice([0, 0.2, 0.5])),
        )

    def paint(self) -> int:
        """Plain colour, some dirt: painted wood, plastic, walls."""
        return self.make(
            self.colour(0.03, 0.85),
            dirt=float(self._rng.uniform(0, 0.15)),
            gloss=float(self._rng.choice([0, 0.1, 0.4, 0.7])),
        )

    def white(self) -> int:
        """White things: plaster, ceramics, appliances."""
        tone = float(self._rng.uniform(0.55, 0.9))
        return self.make(
            self.near((tone, tone, tone), 0.05),
            dirt=float(self._rng.uniform(0, 0.12)),
            gloss=float(self._rng.choice([0, 0.2, 0.6])),
        )

    def dark(self) -> int:
        """Black plastic, screens, tyres."""
        tone = float(self._rng.uniform(0.015, 0.07))
        return self.make(
            self.near((tone, tone, tone), 0.1),
            dirt=float(self._rng.uniform(0, 0.3)),
            gloss=float(self._rng.choice([0, 0.3, 0.8])),
        )

    def metal(self) -> int:
        """Grey and shiny."""
        tone = float(self._rng.uniform(0.12, 0.6))
        return self.make(
            self.near((tone, tone, tone), 0.06),
            gloss=float(self._rng.uniform(0.3, 0.9)),
            bump=float(self._rng.choice([0, 0.03])),
        )

    def fabric(self) -> int:
        """Upholstery, curtains, rugs, clothes."""
        rng = self._rng
        a = self.colour(0.03, 0.75, 0.5)
        pattern = _CLOTH[int(rng.integers(len(_CLOTH)))]
        scale = float(rng.uniform(0.03, 0.2)) if pattern != Pattern.SPECKLE else float(rng.uniform(0.004, 0.02))
        return self.make(
            a,
            self.near(a, 0.6) if rng.random() < 0.6 else self.colour(),
            self.colour(),
            pattern,
            scale=scale,
            bump=float(rng.uniform(0.03, 0.3)),
        )

    def printed(self) -> int:
        """Packaging, posters, pictures, newspapers."""
        rng = self._rng
        pattern = _PRINTED[int(rng.integers(len(_PRINTED)))]
        paper = self.colour(0.5, 0.9, 0.25) if rng.random() < 0.5 else self.colour(0.05, 0.8)
        scale = float(rng.uniform(0.04, 0.25)) if pattern != Pattern.TEXT else float(rng.uniform(0.006, 0.02))
        return self.make(
            paper,
            self.colour(0.02, 0.5),
            self.colour(),
            pattern,
            scale=scale,
            dirt=0.05,
            gloss=float(rng.choice([0, 0.3, 0.6])),
        )

    def cardboard(self) -> int:
        """Brown boxes."""
        tone = float(self._rng.uniform(0.18, 0.42))
        a = (tone, tone * 0.72, tone * 0.46)
        pattern = Pattern.PLAIN if self._rng.random() < 0.6 else Pattern.TEXT
        return self.make(a, (0.05, 0.05, 0.05), self.near(a), pattern, scale=float(self._rng.uniform(0.02, 0.06)))

    def wall(self) -> int:
        """Inside walls."""
        rng = self._rng
        roll = rng.random()
        if roll < 0.55:
            base = self.colour(0.35, 0.88, 0.2) if rng.random() < 0.75 else self.colour(0.05, 0.7)
            return self.make(base, dirt=float(rng.uniform(0.02, 0.2)), dirt_scale=float(rng.uniform(0.5, 3)))
        a = self.colour(0.15, 0.8, 0.3)
        if roll < 0.7:
            return self.make(
                a,
                self.near(a, 0.35),
                self.near((0.5, 0.48, 0.45), 0.3),
                Pattern.BRICK,
                scale=float(rng.uniform(0.2, 0.42)),
                bump=0.1,
            )
        if roll < 0.8:
            return self.make(a, self.near(a, 0.3), self.colour(), Pattern.FLOWERS, scale=float(rng.uniform(0.08, 0.4)))
        if roll < 0.9:
            return self.make(
                a,
                self.near(a, 0.2),
                self.near((0.5, 0.5, 0.5), 0.3),
                Pattern.TILE,
                scale=float(rng.uniform(0.1, 0.4)),
                gloss=0.3,
            )
        return self.pick("wood", "concrete")

    def concrete(self) -> int:
        """Concrete, plaster, stone."""
        tone = float(self._rng.uniform(0.12, 0.6))
        a = self.near((tone, tone * 0.97, tone * 0.9), 0.1)
        return self.make(
            a,
            self.near(a, 0.25),
            self.near(a, 0.5),
            Pattern.CLOUDY,
            scale=float(self._rng.uniform(0.2, 1)),
            bump=0.1,
            dirt=0.3,
        )

    def floor(self) -> int:
        """Inside floors."""
        rng = self._rng
        roll = rng.random()
        if roll < 0.35:
            tone = float(rng.uniform(0.05, 0.5))
            a = (tone, tone * float(rng.uniform(0.55, 0.85)), tone * float(rng.uniform(0.3, 0.7)))
            return self.make(
                a,
                self.near(a, 0.2),
                self.near((a[0] * 0.4, a[1] * 0.4, a[2] * 0.4)),
                Pattern.PLANKS,
                scale=float(rng.uniform(0.07, 0.2)),
                angle=float(rng.integers(2)) * np.pi / 2 + float(rng.choice([0, 0.78])) * (rng.random() < 0.2),
                gloss=float(rng.choice([0, 0.3, 0.6])),
            )
        if roll < 0.6:
            a = self.colour(0.08, 0.8, 0.3)
            pattern = Pattern.TILE if rng.random() < 0.7 else Pattern.CHECKER
            return self.make(
                a,
                self.near(a, 0.3),
                self.near((0.4, 0.4, 0.4), 0.5),
                pattern,
                scale=float(rng.uniform(0.15, 0.6)),
                gloss=float(rng.choice([0, 0.4, 0.7])),
            )
        if roll < 0.8:
            a = self.colour(0.04, 0.6, 0.35)
            return self.make(
                a,
                self.near(a, 0.25),
                self.near(a, 0.4),
                Pattern.SPECKLE,
                scale=float(rng.uniform(0.005, 0.03)),
                bump=0.08,
            )
        return self.pick("concrete", "fabric", "marble")

    def marble(self) -> int:
        """Veined stone."""
        a = self.colour(0.05, 0.85, 0.2)
        return self.make(
            a,
            self.near(a, 0.3),
            self.colour(0.05, 0.8, 0.2),
            Pattern.MARBLE,
            scale=float(self._rng.uniform(0.2, 1)),
            gloss=0.5,
        )

    def panels(self) -> int:
        """Cupboard fronts, lockers, doors."""
        rng = self._rng
        a = self.colour(0.05, 0.85, 0.35)
        return self.make(
            a,
            self.colour(),
            (a[0] * 0.3, a[1] * 0.3, a[2] * 0.3),
            Pattern.PANELS,
            scale=float(rng.uniform(0.3, 0.7)),
            extra=float(rng.choice([0.35, 0.5, 1.0, 1.8])),
            gloss=float(rng.choice([0, 0.2, 0.5])),
            dirt=0.08,
        )

    def books(self) -> int:
        """A wall of spines; for boxes that stand for rows of books."""
        a = self.colour(0.03, 0.5)
        return self.make(
            a,
            a,
            self.colour(),
            Pattern.BOOKS,
            scale=float(self._rng.uniform(0.05, 0.11)),
            extra=float(self._rng.uniform(0.24, 0.4)),
        )

    def perforated(self) -> int:
        """Machine tables with a grid of holes."""
        a = self.near((0.5, 0.5, 0.52), 0.3)
        return self.make(
            a,
            self.near((0.2, 0.2, 0.2), 0.3),
            None,
            Pattern.PERFORATED,
            scale=float(self._rng.uniform(0.025, 0.05)),
            gloss=0.4,
        )

    def glass(self) -> int:
        """Dark reflecting glass."""
        return self.make(self.near((0.04, 0.05, 0.06), 0.3), gloss=1.0, dirt=0.1)

    def leaf(self) -> int:
        """Foliage."""
        rng = self._rng
        tone = float(rng.uniform(0.03, 0.25))
        a = (tone * float(rng.uniform(0.35, 1.0)), tone, tone * float(rng.uniform(0.1, 0.4)))
        if rng.random() < 0.07:
            a = self.colour(0.1, 0.6)
        return self.make(
            a,
            self.near(a, 0.5),
            self.near(a, 0.8),
            Pattern.SPECKLE,
            scale=float(rng.uniform(0.02, 0.06)),
            dirt=0.5,
            dirt_scale=0.4,
        )

    def grass(self) -> int:
        """Lawns and meadows."""
        rng = self._rng
        tone = float(rng.uniform(0.08, 0.32))
        a = (tone * float(rng.uniform(0.4, 1.0)), tone, tone * float(rng.uniform(0.1, 0.35)))
        return self.make(
            a,
            self.near(a, 0.4),
            self.near((0.3, 0.25, 0.12), 0.5) if rng.random() < 0.7 else self.colour(0.2, 0.9),
            Pattern.SPECKLE,
            scale=float(rng.uniform(0.006, 0.03)),
            dirt=0.35,
            dirt_scale=float(rng.uniform(0.5, 4)),
            bump=0.3,
        )

    def earth(self) -> int:
        """Soil, sand, gravel, snow."""
        rng = self._rng
        tone = float(rng.uniform(0.08, 0.6))
        a = (tone, tone * float(rng.uniform(0.7, 0.98)), tone * float(rng.uniform(0.45, 0.95)))
        return self.make(
            a,
            self.near(a, 0.4),
            self.near(a, 0.6),
            Pattern.SPECKLE,
            scale=float(rng.uniform(0.01, 0.08)),
            dirt=0.4,
            dirt_scale=2.0,
            bump=0.3,
        )

    def rock(self) -> int:
        """Boulders."""
        tone = float(self._rng.uniform(0.06, 0.5))
        a = self.near((tone, tone * 0.95, tone * 0.88), 0.15)
        return self.make(
            a,
            self.near(a, 0.4),
            self.near(a, 0.7),
            Pattern.CLOUDY,
            scale=float(self._rng.uniform(0.1, 0.5)),
            dirt=0.5,
            bump=0.6,
        )

    def bark(self) -> int:
        """Tree trunks."""
        tone = float(self._rng.uniform(0.03, 0.25))
        a = (tone, tone * 0.8, tone * 0.62)
        return self.make(
            a, self.near(a, 0.5), self.near(a, 0.5), Pattern.WOOD, scale=0.05, angle=np.pi / 2, dirt=0.5, bump=0.5
        )

    def paving(self) -> int:
        """Pavements, cobbles, slabs."""
        rng = self._rng
        tone = float(rng.uniform(0.12, 0.5))
        a = self.near((tone, tone * 0.96, tone * 0.9), 0.15)
        pattern = (Pattern.TILE, Pattern.BRICK, Pattern.SPECKLE)[int(rng.integers(3))]
        scale = float(rng.uniform(0.15, 0.6)) if pattern != Pattern.SPECKLE else 0.03
        return self.make(
            a, self.near(a, 0.25), self.near((tone * 0.4,) * 3, 0.2), pattern, scale=scale, dirt=0.35, dirt_scale=1.5
        )

    def road(self, half_width: float) -> int:
        """Asphalt with markings."""
        tone = float(self._rng.uniform(0.06, 0.3))
        mark = float(self._rng.uniform(0.45, 0.85)) if self._rng.random() < 0.8 else tone
        return self.make(
            self.near((tone, tone, tone), 0.06),
            (mark, mark, mark * float(self._rng.choice([1, 1, 0.5]))),
            None,
            Pattern.ROAD,
            extra=half_width,
            dirt=0.25,
            dirt_scale=float(self._rng.uniform(1, 4)),
            scale=1.0,
        )

    def facade(self) -> int:
        """Outside walls with windows."""
        rng = self._rng
        a = self.colour(0.08, 0.8, 0.35)
        return self.make(
            a,
            self.near((0.1, 0.12, 0.14), 0.6),
            self.near((0.6, 0.6, 0.58), 0.5) if rng.random() < 0.6 else self.colour(),
            Pattern.WINDOWS,
            scale=float(rng.uniform(1.6, 4.5)),
            extra=float(rng.uniform(0.3, 0.85)),
            dirt=0.25,
            dirt_scale=3.0,
            gloss=0.05,
        )

    def outside_wall(self) -> int:
        """Outside walls without windows."""
        rng = self._rng
        a = self.colour(0.08, 0.7, 0.4)
        pattern = (Pattern.BRICK, Pattern.TILE, Pattern.PLANKS, Pattern.CLOUDY, Pattern.PANELS)[int(rng.integers(5))]
        return self.make(
            a,
            self.near(a, 0.3),
            self.near((0.4, 0.4, 0.38), 0.4),
            pattern,
            scale=float(rng.uniform(0.25, 0.9)),
            dirt=0.35,
            dirt_scale=2.0,
            bump=0.08,
        )

    def skin(self) -> int:
        """Skin."""
        tone = float(self._rng.uniform(0.12, 0.6))
        return self.make((tone, tone * 0.68, tone * 0.52), dirt=0.1, gloss=0.1)

    def fur(self) -> int:
        """Animals."""
        rng = self._rng
        tone = float(rng.uniform(0.05, 0.75))
        a = (tone, tone * float(rng.uniform(0.6, 0.95)), tone * float(rng.uniform(0.3, 0.9)))
        return self.make(
            a,
            self.near(a, 0.4),
            self.near(a, 0.9),
            Pattern.CLOUDY,
            scale=float(rng.uniform(0.03, 0.2)),
            bump=0.5,
            dirt=0.4,
            dirt_scale=0.06,
        )

    def lamp(self, strength: float = 8.0) -> int:
        """Something that glows."""
        warm = float(self._rng.uniform(0.6, 1.0))
        return self.make((0.95, 0.95 * (0.5 + warm / 2), 0.95 * warm), dirt=0.02, glow=strength)

    def window(self, strength: float = 3.0) -> int:
        """What is seen through a window: bright, blurred, outdoors."""
        rng = self._rng
        tone = float(rng.uniform(0.5, 0.95))
        return self.make(
            (tone * 0.9, tone * 0.97, tone),
            self.colour(0.15, 0.6, 0.4),
            (0.2, 0.35, 0.12),
            Pattern.CLOUDY if rng.random() < 0.7 else Pattern.PHOTO,
            scale=float(rng.uniform(0.1, 0.5)),
            glow=strength,
            dirt=0.1,
            gloss=0.3,
        )

    def anything(self) -> int:
        """Any loose object's material."""
        return self.pick(
            "paint", "paint", "printed", "printed", "wood", "metal", "white", "dark", "fabric", "cardboard"
        )
