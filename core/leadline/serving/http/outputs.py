"""A prediction as files: what the HTTP interface answers with."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.files.image import read_image
from leadline.files.output import Quantisation, npy, png, uncertainty_preview
from leadline.files.pictures import depth_picture
from leadline.geometry.export import Scene, build_mesh
from leadline.geometry.web import view_html

#: Vertices along the long edge of the scene that browsers turn.
_VERTICES = 512
JSON, PNG, NPY, ZIP = "json", "png", "npy", "zip"
MEDIA_TYPES: Mapping[str, str] = {
    JSON: "application/json",
    PNG: "image/png",
    NPY: "application/octet-stream",
    ZIP: "application/zip",
}


def about(prediction: DepthPrediction) -> dict[str, Any]:
    """What the numbers mean."""
    height, width = prediction.shape
    return {
        "model": prediction.model,
        "space": prediction.space.value,
        "metric": prediction.metric,
        "near_is_high": prediction.space.near_is_high,
        "width": width,
        "height": height,
        "meta": dict(prediction.meta),
    }


def encode(prediction: DepthPrediction, image: bytes, kind: str) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and the headers that explain it.

    ``png``: 16 bits, value = low + (high - low) · number / 65535, with low and high in the headers. ``npy``: float32
    (H, W), or with an uncertainty (2, H, W). ``json``: the same numbers in base64. ``zip``: all of that, colours, and
    the scene as a page that turns in 3D.
    """
    headers = {
        "Leadline-Model": prediction.model,
        "Leadline-Space": prediction.space.value,
        "Leadline-Metric": str(prediction.metric).lower(),
    }
    if kind == PNG:
        range_ = Quantisation.of(prediction.values)
        headers |= {"Leadline-Low": repr(range_.low), "Leadline-High": repr(range_.high)}
        return png(range_.encode(prediction.values)), headers
    if kind == NPY:
        return npy(_stacked(prediction)), headers
    if kind == JSON:
        maps = {"values": _base64(prediction.values)}
        if prediction.uncertainty is not None:
            maps["uncertainty"] = _base64(prediction.uncertainty)
        if prediction.validity is not None:
            maps["validity"] = base64.b64encode(prediction.validity.tobytes()).decode()
        return json.dumps({**about(prediction), "dtype": "<f4", **maps}).encode(), headers
    return _files(prediction, image), headers


def encode_normals(prediction: NormalsPrediction, kind: str) -> tuple[bytes, dict[str, str]]:
    """The same for surface normals.

    ``png``: a tangent-space normal map of 16 bits, component = 2 · number / 65535 - 1. ``npy``: float32 (H, W, 3). ``json``: the same
    numbers in base64. ``zip``: all of that, and the uncertainty if there is one.
    """
    headers = {"Leadline-Model": prediction.model, "Leadline-Output": "normals", "Leadline-Axes": prediction.axes}
    height, width = prediction.shape
    said: dict[str, Any] = {
        "model": prediction.model, "output": "normals", "axes": prediction.axes, "width": width, "height": height,
        "meta": dict(prediction.meta),
    }  # fmt: skip
    if kind == PNG:
        return png(prediction.as_picture(16)), headers
    if kind == NPY:
        return npy(prediction.values), headers
    if kind == JSON:
        maps = {"values": _base64(prediction.values)}
        if prediction.uncertainty is not None:
            maps["uncertainty"] = _base64(prediction.uncertainty)
        return json.dumps({**said, "dtype": "<f4", **maps}).encode(), headers
    files = {
        "normals.npy": npy(prediction.values),
        "normals.png": png(prediction.as_picture(16)),
        "about.json": json.dumps(said, indent=1).encode(),
    }
    if prediction.uncertainty is not None:
        files["uncertainty.npy"] = npy(prediction.uncertainty)
    return _zipped(files), headers


def _files(prediction: DepthPrediction, image: bytes) -> bytes:
    """Everything, in a ZIP that is not compressed again."""
    range_ = Quantisation.of(prediction.values)
    said = {**about(prediction), "depth16": {"low": range_.low, "high": range_.high}}
    scene = Scene.of(read_image(image), prediction)
    note = "metres" if prediction.metric else "shape only: distances are assumed, not measured"
    files = {
        "depth.npy": npy(prediction.values),
        "depth16.png": png(range_.encode(prediction.values)),
        "depth-colours.png": png(depth_picture(prediction)),
        "scene.html": view_html(build_mesh(scene, vertices=_VERTICES), scene, "Depth", note),
        "about.json": json.dumps(said, indent=1).encode(),
    }
    if prediction.uncertainty is not None:
        files["uncertainty.npy"] = npy(prediction.uncertainty)
        files["uncertainty-colours.png"] = png(uncertainty_preview(prediction.uncertainty))
    if prediction.validity is not None:
        files["validity.npy"] = npy(prediction.validity)
    return _zipped(files)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _stacked(prediction: DepthPrediction) -> Any:
    if prediction.uncertainty is None:
        return prediction.values
    return np.stack([prediction.values, prediction.uncertainty])


def _base64(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
