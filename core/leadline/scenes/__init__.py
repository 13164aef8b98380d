"""Procedural RGB-D scenes: pictures that look like photographs, with exact depth, made from nothing but a seed.

``render_scenes`` makes pictures, ``render_film`` films with pose and optical flow; ``python -m leadline.scenes --help`` renders shards to disk.
"""

from __future__ import annotations

from .film import FilmFrame, render_film
from .layouts import LAYOUTS
from .render import SceneBatch, render_scenes

__all__ = ["LAYOUTS", "FilmFrame", "SceneBatch", "render_film", "render_scenes"]
