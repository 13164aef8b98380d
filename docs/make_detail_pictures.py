"""The pictures and films of docs/detail-and-video.md: python docs/make_detail_pictures.py PHOTO [PHOTO ...]

Writes docs/images/detail.jpg (photographs, their depth with detail off, edges and tiles, and a part of each enlarged),
docs/images/detail-3d.jpg (point cloud and mesh of the first photograph from the side, off and edges), and
docs/images/film-flicker.mp4 and film-steady.mp4 (a rendered film, frame by frame and held still). The pictures on the page are of
chess_macro.jpg by Randy Fath and colosseum_dusk.jpg by David Kohler (Unsplash).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import leadline
from leadline import DepthPrediction
from leadline.depth.nearness import nearness
from leadline.files.film import mp4
from leadline.files.image import read_image
from leadline.files.pictures import colourise
from leadline.geometry.export import Scene, build_mesh, vertex_colours
from leadline.geometry.mesh import Mesh
from leadline.scenes import render_film
from leadline.types import FloatMap, RgbImage
from leadline.video.stabiliser import Stabiliser

IMAGES = Path(__file__).parent / "images"
MODEL, FILM_MODEL = "fiffdepth-mini", "depthmaster-mini"
WAYS = ("off", "edges", "tiles")
PANEL_WIDTH, ZOOM = 360, 3.0
#: The camera of the views from the side, degrees, and where it looks: share of width and height.
YAW, PITCH = 20.0, -5.0
#: Nothing is cut where depth jumps, as in a robot's cloud or a displacement.
UNCUT = 100.0
FRAMES, FILM_SIZE = 36, (180, 240)


def shades(prediction: DepthPrediction) -> RgbImage:
    """Colours, near is warm."""
    return colourise(nearness(prediction.values, prediction.space.near_is_high, 0.5, 99.5))


def busiest(predictions: dict[str, DepthPrediction]) -> tuple[slice, slice]:
    """The part in which edges changed most."""
    change = np.abs(predictions["edges"].values - predictions["off"].values)
    height, width = (round(side / ZOOM) for side in change.shape)
    total = cv2.boxFilter(change, -1, (width, height), normalize=True, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    total = total[: change.shape[0] - height, : change.shape[1] - width]
    top, left = np.unravel_index(int(total.argmax()), total.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def panel(picture: RgbImage, how: int = cv2.INTER_AREA) -> RgbImage:
    height = round(picture.shape[0] * PANEL_WIDTH / picture.shape[1])
    return np.asarray(cv2.resize(picture, (PANEL_WIDTH, height), interpolation=how), np.uint8)


def flat_picture(photo: RgbImage, predictions: dict[str, DepthPrediction]) -> RgbImage:
    """Photograph and maps side by side, and below them the busiest part of each."""
    part = busiest(predictions)
    pictures = [photo, *(shades(predictions[way]) for way in WAYS)]
    whole, close = [], []
    for picture in pictures:
        marked = picture.copy()
        cv2.rectangle(marked, (part[1].start, part[0].start), (part[1].stop, part[0].stop), (255, 255, 255), 3)
        whole.append(panel(marked))
        close.append(panel(np.ascontiguousarray(picture[part]), cv2.INTER_CUBIC))
    return np.vstack([np.hstack(whole), np.hstack(close)])


def seen_from_the_side(vertices: FloatMap, size: tuple[int, int]) -> tuple[FloatMap, FloatMap]:
    """(V, 2) pixels and (V,) distance of points in the axes of leadline.geometry, from a camera that has gone around them."""
    middle = np.median(vertices, axis=0)
    yaw, pitch = np.radians(YAW), np.radians(PITCH)
    around = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    over = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turned = (vertices - middle) @ (over @ around).T
    far = -turned[:, 2] + np.linalg.norm(middle) * 1.15
    focal = 1.25 * size[1]
    x = size[1] / 2 + focal * turned[:, 0] / far
    y = size[0] / 2 - focal * turned[:, 1] / far
    return np.stack([x, y], 1).astype(np.float32), far.astype(np.float32)


def cloud_picture(mesh: Mesh, colours: RgbImage, size: tuple[int, int]) -> RgbImage:
    place, far = seen_from_the_side(mesh.vertices, size)
    order = np.argsort(-far)
    out = np.full((*size, 3), 245, np.uint8)
    column, row = np.rint(place[order]).astype(int).T
    inside = (column >= 0) & (column < size[1] - 1) & (row >= 0) & (row < size[0] - 1)
    column, row, paint = column[inside], row[inside], colours[order][inside]
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        out[row + down, column + across] = paint
    return out


def mesh_picture(mesh: Mesh, size: tuple[int, int]) -> RgbImage:
    """Grey faces, lit from the camera's left."""
    place, far = seen_from_the_side(mesh.vertices, size)
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, -1] - corners[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = np.clip(normal @ (np.array([-0.5, 0.5, 0.7]) / np.linalg.norm([-0.5, 0.5, 0.7])), 0, 1)
    out = np.full((*size, 3), 245, np.uint8)
    polygons = np.rint(16 * place[mesh.faces]).astype(np.int32)
    for face in np.argsort(-far[mesh.faces].mean(1)):
        shade = int(60 + 160 * light[face])
        cv2.fillConvexPoly(out, polygons[face], (shade, shade, shade), shift=4)
    return out


def solid_picture(photo: RgbImage, predictions: dict[str, DepthPrediction]) -> RgbImage:
    size = (400, 640)
    rows = []
    for way in ("off", "edges"):
        scene = Scene.of(photo, predictions[way])
        points = build_mesh(scene, "points", vertices=700, cut=UNCUT)
        surface = build_mesh(scene, "scene", vertices=260, cut=UNCUT)
        colours = vertex_colours(points, photo)[:, :3]
        rows.append(np.hstack([cloud_picture(points, colours, size), mesh_picture(surface, size)]))
    return np.vstack(rows)


def films() -> None:
    model = leadline.load(FILM_MODEL, device="cpu")
    frames = list(render_film(9001, FRAMES, *FILM_SIZE, layout="room", path="walk", exposure=0.3, supersample=1.0))
    raw = [model.predict(frame.rgb) for frame in frames]
    stabiliser = Stabiliser()
    steady = [stabiliser.step(one, frame.rgb) for one, frame in zip(raw, frames, strict=True)]
    for name, maps in (("flicker", raw), ("steady", steady)):
        low, high = np.percentile(np.stack([m.values[::4, ::4] for m in maps]), [0.5, 99.5])
        pictures = []
        for frame, one in zip(frames, maps, strict=True):
            share = np.clip((one.values - low) / (high - low), 0, 1)
            near = share if one.space.near_is_high else 1 - share
            pictures.append(np.hstack([frame.rgb, colourise(near.astype(np.float32))]))
        (IMAGES / f"film-{name}.mp4").write_bytes(mp4(pictures, 15.0))


def main(photos: list[Path]) -> None:
    """Everything the page shows."""
    model, rows = leadline.load(MODEL, device="cpu"), []
    for number, path in enumerate(photos):
        photo = read_image(path)
        predictions = {way: model.predict(photo, detail=way) for way in WAYS}
        rows.append(flat_picture(photo, predictions))
        if number == 0:
            solid = cv2.cvtColor(solid_picture(photo, predictions), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(IMAGES / "detail-3d.jpg"), solid, [cv2.IMWRITE_JPEG_QUALITY, 82])
    whole = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(IMAGES / "detail.jpg"), whole, [cv2.IMWRITE_JPEG_QUALITY, 84])
    films()


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
