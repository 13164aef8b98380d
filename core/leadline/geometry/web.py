"""A scene as one HTML file that any browser turns in 3D, without a network and without an installation."""

from __future__ import annotations

import base64
import html
import io
import json
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from leadline.depth.nearness import nearness
from leadline.files.pictures import colourise
from leadline.geometry.export import Scene
from leadline.geometry.mesh import Mesh

#: Longest edge of the photograph in the page, pixels.
_TEXTURE_PX = 2048


def view_html(mesh: Mesh, scene: Scene, title: str, caption: str = "") -> bytes:
    """The page: the mesh with its photograph, its depth in colours, its points.

    Args:
        mesh: Of the scene, in its axes.
        scene: For the photograph and the camera.
        title: Shown at the top.
        caption: Shown at the bottom: where the metres come from.
    """
    picture = Image.fromarray(scene.photo)
    picture.thumbnail((_TEXTURE_PX, _TEXTURE_PX))
    photo = io.BytesIO()
    picture.save(photo, "JPEG", quality=88)
    near = nearness(np.log(np.maximum(mesh.depth, 1e-6)), False, 0.5, 99.5)
    data: dict[str, Any] = {
        "positions": _packed(mesh.vertices, np.float32),
        "uvs": _packed(mesh.uv, np.float32),
        "shades": _packed(colourise(near[:, None])[:, 0], np.uint8),
        "faces": _packed(mesh.triangles(), np.uint32),
        "photo": base64.b64encode(photo.getvalue()).decode(),
        "width": scene.camera.width,
        "height": scene.camera.height,
        "focal": scene.camera.focal_px,
        "pivot": float(np.median(mesh.depth)),
    }
    page = files("leadline.geometry").joinpath("view.html").read_text(encoding="utf-8")
    page = page.replace("@TITLE@", html.escape(title)).replace("@CAPTION@", html.escape(caption))
    return page.replace("@DATA@", json.dumps(data)).encode()


def _packed(values: npt.NDArray[Any], kind: Any) -> str:
    little = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()
