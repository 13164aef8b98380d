"""The numbers of scenes that were tuned. The patterns' and layouts' own, which make the scenes, stand where they are drawn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Render:
    """How a picture is cut into pieces that stay in the processor's cache."""

    #: Pixels along the edge of a tile.
    tile: int = 16
    #: Pairs of a tile and a primitive intersected at once.
    pairs: int = 384
    #: Pixels shaded at once.
    chunk: int = 16384
    #: Pixels along the edge of a group that shares its shadow test (at half resolution).
    shadow_group: int = 8


@dataclass(frozen=True)
class _Drawing:
    """Drawing again what came out unusable."""

    #: Scenes drawn for one picture at most,
    for_a_picture: int = 8
    #: and scenes for one film in which the camera has no way through.
    for_a_film: int = 24


@dataclass(frozen=True)
class _Films:
    """What is seen again from frame to frame."""

    #: Nearer than this share to the depth before, a point is the one that was seen there.
    same_depth: float = 0.03


RENDER, DRAWING, FILMS = _Render(), _Drawing(), _Films()
