"""What a layout hands to the renderer: primitives, materials, camera, light and hints for the photograph."""

from __future__ import annotations

from dataclasses import dataclass, field

from .camera import Viewpoint
from .materials import Materials
from .world import World

Colour = tuple[float, float, float]


@dataclass
class Light:
    """One shadow-casting lamp or sun, plus soft light from everywhere.

    ``position``: lamp position in metres, or for the sun the direction *towards* it. ``strength`` multiplies ``colour``.
    ``window``: the sun enters only through this opening in the wall x = ``window[0]``: (x, y from, y to, z from, z to).
    ``fills``: shadowless lamps (position, colour, range in metres).
    """

    position: tuple[float, float, float] = (0.3, -0.4, 0.85)
    sun: bool = True
    colour: Colour = (1.0, 0.95, 0.85)
    strength: float = 2.0
    size: float = 0.02  # radians for a sun, metres for a lamp: softness of the shadow
    above: Colour = (0.5, 0.6, 0.75)
    below: Colour = (0.25, 0.22, 0.2)
    fills: list[tuple[tuple[float, float, float], Colour, float]] = field(default_factory=list)
    zenith: Colour = (0.25, 0.45, 0.9)
    horizon: Colour = (0.8, 0.88, 0.95)
    cloud: float = 0.5
    haze: float = 0.0  # share of light lost per metre
    window: tuple[float, float, float, float, float] | None = None


@dataclass
class Look:
    """Hints for the photographic pipeline."""

    aperture: float = 0.0  # blur-circle size in radians at infinity for focus 1 m; 0 is a pinhole
    focus: float | None = None  # metres; None focuses on the middle of the picture
    exposure: float = 0.0  # stops away from the automatic choice


@dataclass
class Scene:
    """A finished layout."""

    world: World = field(default_factory=World)
    materials: Materials = field(default_factory=Materials)
    camera: Viewpoint = field(default_factory=lambda: Viewpoint((0.0, 0.0, 1.5)))
    light: Light = field(default_factory=Light)
    look: Look = field(default_factory=Look)
    near: float = 0.25  # metres: nothing may come closer than this, or the scene is drawn again
