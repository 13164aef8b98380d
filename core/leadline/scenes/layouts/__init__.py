"""Layouts: what kind of place a picture shows. ``LAYOUTS`` maps each name to its share of the mixture and its function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..scene import Scene
from .close import alongside, open_box
from .clutter import cellar, still_life
from .facing import lounge, yard
from .fitted import bathroom, classroom, kitchen, shop, workplace
from .nature import landscape, lawn
from .rooms import corridor, library, room, workshop
from .streets import facade, square, street
from .tables import closeup, shelf_bin, table_above, table_oblique

Layout = Callable[[np.random.Generator, float], Scene]

LAYOUTS: dict[str, tuple[float, Layout]] = {
    "room": (0.26, room),
    "workshop": (0.05, workshop),
    "library": (0.05, library),
    "corridor": (0.04, corridor),
    "street": (0.16, street),
    "facade": (0.06, facade),
    "square": (0.03, square),
    "table_above": (0.07, table_above),
    "table_oblique": (0.09, table_oblique),
    "closeup": (0.06, closeup),
    "shelf_bin": (0.05, shelf_bin),
    "landscape": (0.04, landscape),
    "lawn": (0.04, lawn),
    "cellar": (0.0, cellar),
    "still_life": (0.0, still_life),
    "alongside": (0.0, alongside),
    "open_box": (0.0, open_box),
    "yard": (0.0, yard),
    "lounge": (0.0, lounge),
    "bathroom": (0.0, bathroom),
    "kitchen": (0.0, kitchen),
    "classroom": (0.0, classroom),
    "shop": (0.0, shop),
    "workplace": (0.0, workplace),
}
#: Those that the mixture has none of.
BY_NAME = tuple(name for name, (share, _) in LAYOUTS.items() if share == 0)


def draw(name: str, rng: np.random.Generator, aspect: float) -> Scene:
    """A random scene of layout ``name`` for a picture of width / height = ``aspect``."""
    return LAYOUTS[name][1](rng, aspect)
