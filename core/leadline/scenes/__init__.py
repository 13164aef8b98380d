"""Procedural RGB-D scenes: pictures that look like photographs, with exact depth, made from nothing but a seed.

``render_scenes`` is the whole interface; ``python -m leadline.scenes --help`` renders shards to disk.
"""

from __future__ import annotations

from .layouts import LAYOUTS
from .render import SceneBatch, render_scenes

__all__ = ["LAYOUTS", "SceneBatch", "render_scenes"]
