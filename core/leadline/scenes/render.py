"""Scenes to pictures; :func:`render_scenes` is what other rooms call."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from leadline.errors import InputError

from .camera import rays
from .cast import Solids, nearest, screen_rectangles
from .layouts import LAYOUTS, draw
from .photo import photograph
from .scene import Scene
from .shade import ambient_occlusion, dot, lit_colour, shadow, sky, surface, unit
from .tuned import DRAWING, RENDER

FARTHEST = 400.0  # metres: beyond this a hit counts as sky


@dataclass
class SceneBatch:
    """Rendered scenes. N pictures of H×W."""

    rgb: Tensor  # (N, H, W, 3) uint8, sRGB, after the photographic pipeline
    depth_m: Tensor  # (N, H, W) float32, z-depth in metres at the pixel centre; 0 where not valid
    valid: Tensor  # (N, H, W) bool, False for sky
    intrinsics: Tensor  # (N, 3, 3) float32, pixel centres at whole numbers
    layout: list[str]


@dataclass
class Hits:
    """First hits of one picture at some resolution, (H, W)."""

    depth: Tensor  # z-depth, inf for none
    owner: Tensor  # primitive row, −1 for none
    rays: Tensor  # (3, H, W) world directions, camera z = 1
    intrinsics: Tensor


def cast_picture(scene: Scene, solids: Solids, height: int, width: int, scale: float = 1.0) -> Hits:
    """Casts about ``scale``² rays per pixel of a height × width picture; at scale 1 through the pixel centres."""
    device = solids.centre.device
    tall, wide = round(height * scale), round(width * scale)
    directions, pose, intrinsics = rays(scene.camera, height, width, (tall, wide), device)
    eye = torch.tensor(scene.camera.eye, device=device, dtype=torch.float32)
    tile = RENDER.tile
    rows, columns = -(-tall // tile), -(-wide // tile)
    padded = F.pad(directions[None], (0, columns * tile - wide, 0, rows * tile - tall), mode="replicate")[0]
    tiles = padded.reshape(3, rows, tile, columns, tile).transpose(2, 3).reshape(3, rows, columns, tile * tile)
    t, owner = nearest(solids, screen_rectangles(solids.corners, pose, eye, intrinsics), eye, tiles)

    def whole(x: Tensor) -> Tensor:
        return x.reshape(rows, columns, tile, tile).transpose(1, 2).reshape(rows * tile, columns * tile)[:tall, :wide]

    depth, owner = whole(t), whole(owner)
    far = depth > FARTHEST
    return Hits(
        torch.where(far, torch.full_like(depth, float("inf")), depth),
        torch.where(far, torch.full_like(owner, -1), owner),
        directions,
        intrinsics,
    )


def radiance(scene: Scene, solids: Solids, hits: Hits) -> Tensor:
    """Linear colour (3, H, W) of every ray."""
    light = scene.light
    device = hits.depth.device
    height, width = hits.depth.shape
    eye = torch.tensor(scene.camera.eye, device=device, dtype=torch.float32).view(3, 1, 1)
    hit = hits.owner >= 0
    depth = torch.where(hit, hits.depth, torch.zeros_like(hits.depth))
    point = eye + hits.rays * depth
    index = hit.flatten().nonzero()[:, 0]
    view = hits.rays.reshape(3, -1)
    colour = torch.empty(3, height * width, device=device)
    missing = (~hit).flatten().nonzero()[:, 0]
    if len(missing):
        colour[:, missing] = sky(light, view[:, missing])
    if not len(index):
        return colour.reshape(3, height, width)
    table, owners, points = scene.materials.table(device), hits.owner.flatten(), point.reshape(3, -1)
    normal = torch.zeros_like(colour)
    chunks = index.split(RENDER.chunk)
    surfaces = [surface(solids, table, owners[part], points[:, part], view[:, part]) for part in chunks]
    for part, s in zip(chunks, surfaces, strict=True):
        normal[:, part] = s.normal
    normal = normal.reshape(3, height, width)
    focal = float(hits.intrinsics[0, 0])
    openness = ambient_occlusion(hits.depth, hit, normal, hits.rays, focal).flatten()
    grow = 16
    pad = (0, -width % grow, 0, -height % grow)
    arriving = shadow(
        solids,
        light,
        F.pad(point[None], pad, mode="replicate")[0],
        F.pad(normal[None], pad, mode="replicate")[0],
        F.pad(hit, pad),
    )[:height, :width].flatten()
    flat = hits.depth.flatten()
    air = torch.tensor(light.horizon, device=device).view(3, 1)
    for part, s in zip(chunks, surfaces, strict=True):
        d, seen = flat[part], view[:, part]
        slant = dot(unit(seen), s.normal).abs().clamp(min=0.04)
        shaded = lit_colour(s, light, seen, openness[part], arriving[part], d / focal / slant.sqrt())
        if light.haze > 0:
            through = torch.exp(-light.haze * d)
            shaded = shaded * through + air * (1 - through)
        colour[:, part] = shaded
    return colour.reshape(3, height, width)


def _acceptable(scene: Scene, hits: Hits) -> bool:
    """Not inside something, not nearly all sky, not a single flat face."""
    solid = torch.isfinite(hits.depth)
    if float(solid.float().mean()) < 0.3:
        return False
    seen = hits.depth[solid]
    low, high = torch.quantile(
        seen[:: max(1, seen.numel() // 4000)], torch.tensor([0.005, 0.98], device=seen.device)
    ).tolist()
    return bool(low >= scene.near and high / low > 1.25)


def render_scene(
    seed: int,
    index: int,
    height: int,
    width: int,
    layout: str | None = None,
    device: torch.device | str = "cpu",
    supersample: float = 1.5,
) -> tuple[np.ndarray, Tensor, Tensor, Tensor, str]:
    """One picture: rgb (H, W, 3) uint8 array, depth (H, W), valid (H, W), intrinsics (3, 3), name of the layout."""
    on = torch.device(device)
    rng = np.random.default_rng([seed, index])
    name = layout or str(rng.choice(list(LAYOUTS), p=[share for share, _ in LAYOUTS.values()]))
    for _ in range(DRAWING.for_a_picture):
        scene = draw(name, rng, width / height)
        solids = Solids.of(scene.world.freeze(), on)
        exact = cast_picture(scene, solids, height, width)
        if _acceptable(scene, exact):
            break
    fine = cast_picture(scene, solids, height, width, supersample) if supersample > 1 else exact
    shaded = np.ascontiguousarray(radiance(scene, solids, fine).clamp(max=12).permute(1, 2, 0).cpu().numpy())
    colour = torch.from_numpy(cv2.resize(shaded, (width, height), interpolation=cv2.INTER_AREA)).to(on).permute(2, 0, 1)
    rgb = photograph(colour, exact.depth, scene.look, float(exact.intrinsics[0, 0]), rng)
    valid = torch.isfinite(exact.depth)
    return rgb, torch.where(valid, exact.depth, torch.zeros_like(exact.depth)), valid, exact.intrinsics, name


@torch.no_grad()
def render_scenes(
    seed: int,
    count: int,
    height: int,
    width: int,
    layout: str | None = None,
    device: torch.device | str = "cpu",
    first: int = 0,
) -> SceneBatch:
    """Renders ``count`` pictures; picture i depends only on (seed, first + i, height, width, layout).

    ``layout``: one of ``LAYOUTS``, or None for a mixture. Raises :class:`InputError` for an unknown layout or size.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"no scene layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    if count < 1 or height < 16 or width < 16:
        raise InputError(f"cannot render {count} pictures of {height}×{width}; need at least one of 16×16")
    parts = [render_scene(seed, first + i, height, width, layout, device) for i in range(count)]
    return SceneBatch(
        rgb=torch.stack([torch.from_numpy(p[0]) for p in parts]).to(device),
        depth_m=torch.stack([p[1] for p in parts]),
        valid=torch.stack([p[2] for p in parts]),
        intrinsics=torch.stack([p[3] for p in parts]),
        layout=[p[4] for p in parts],
    )
