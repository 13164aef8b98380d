"""Pictures of depth for people: colour maps with a legend, photograph and depth side by side, parallax, contact sheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from leadline.depth.prediction import DepthPrediction
from leadline.types import FloatMap, RgbImage

#: Colour maps by name; near is the warm or bright end.
Colours = Literal["turbo", "spectral", "magma", "grey"]
COLOURS: tuple[Colours, ...] = ("turbo", "spectral", "magma", "grey")

#: Cynthia Brewer's diverging scheme "Spectral" (11 classes, Apache-2.0), far to near.
_SPECTRAL = (
    (94, 79, 162), (50, 136, 189), (102, 194, 165), (171, 221, 164), (230, 245, 152), (255, 255, 191), (254, 224, 139),
    (253, 174, 97), (244, 109, 67), (213, 62, 79), (158, 1, 66),
)  # fmt: skip
_OPENCV = {"turbo": cv2.COLORMAP_TURBO, "magma": cv2.COLORMAP_MAGMA}
#: What is beyond these percentiles shares a colour.
_ENDS = (0.5, 99.5)


def colourise(shades: FloatMap, colours: Colours = "turbo") -> RgbImage:
    """[0, 1] (H, W) to RGB uint8 (H, W, 3): 1 is the near end of the colour map."""
    levels = np.rint(np.clip(shades, 0.0, 1.0) * 255).astype(np.uint8)
    return _table(colours)[levels]


def _table(colours: Colours) -> RgbImage:
    """uint8 (256, 3)."""
    steps = np.arange(256, dtype=np.uint8)
    if colours == "grey":
        return np.repeat(steps[:, None], 3, axis=1)
    if colours == "spectral":
        anchors, at = np.array(_SPECTRAL, np.float64), np.linspace(0, 255, len(_SPECTRAL))
        return np.rint([np.interp(steps, at, anchors[:, channel]) for channel in range(3)]).T.astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(steps[:, None], _OPENCV[colours])[:, 0, ::-1])


def depth_picture(prediction: DepthPrediction, colours: Colours = "turbo") -> RgbImage:
    """RGB uint8 (H, W, 3) for looking at; the extreme 0.5 % at each end share a colour."""
    return colourise(prediction.nearness(*_ENDS), colours)


def with_legend(prediction: DepthPrediction, colours: Colours = "turbo") -> RgbImage:
    """The depth picture with its colours explained at the right: metres where it is metric, else near and far."""
    picture = depth_picture(prediction, colours)
    height = picture.shape[0]
    size = max(11, height // 30)
    font = ImageFont.load_default(size)
    ramp = np.linspace(1, 0, height, dtype=np.float32)[:, None].repeat(max(8, size), axis=1)
    canvas = Image.new("RGB", (ramp.shape[1] + 5 * size, height), "white")
    canvas.paste(Image.fromarray(colourise(ramp, colours)), (size // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for share, text in _marks(prediction):
        y = min(max(0.0, (1 - share) * (height - 1) - size / 2), height - 1.4 * size)
        draw.text((ramp.shape[1] + size, y), text, fill="black", font=font)
    return np.hstack([picture, np.asarray(canvas)])


def _marks(prediction: DepthPrediction) -> list[tuple[float, str]]:
    """(nearness, text) of the legend's labels, near to far."""
    if not prediction.metric:
        return [(1.0, "near"), (0.0, "far")]
    near, far = (float(np.percentile(prediction.values, q)) for q in (100 - _ENDS[1], 100 - _ENDS[0]))
    return [(1 - share, f"{near + share * (far - near):.2f} m") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def side_by_side(photo: RgbImage, prediction: DepthPrediction, colours: Colours = "turbo") -> RgbImage:
    """Photograph and depth with its legend, RGB uint8 (H, more than 2 W, 3)."""
    return np.hstack([photo, with_legend(prediction, colours)])


def parallax(
    photo: RgbImage, prediction: DepthPrediction, frames: int = 30, sway: float = 0.02, long_edge: int = 640
) -> list[RgbImage]:
    """The photograph seen by a camera that sways on a small circle, near things moving most; the film loops.

    Args:
        photo: RGB uint8 (H, W, 3).
        prediction: Its depth.
        frames: Of one turn.
        sway: Largest shift of the nearest point, as a share of the long edge.
        long_edge: Of the frames, pixels.
    """
    scale = min(1.0, long_edge / max(photo.shape[:2]))
    width, height = (max(2, round(side * scale) // 2 * 2) for side in (photo.shape[1], photo.shape[0]))
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    near = cv2.resize(prediction.nearness(*_ENDS), (width, height), interpolation=cv2.INTER_AREA) - np.float32(0.5)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    reach = np.float32(2 * sway * max(width, height))
    film = []
    for angle in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        right, down = reach * np.float32(np.cos(angle)), np.float32(0.5) * reach * np.float32(np.sin(angle))
        shift = near
        for _ in range(4):  # what is seen at a pixel is moved by its own nearness
            shift = cv2.remap(
                near, x - right * shift, y - down * shift, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        seen = cv2.remap(small, x - right * shift, y - down * shift, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        film.append(np.asarray(seen, np.uint8))
    return film


def gif(film: Sequence[RgbImage], frames_per_second: float = 15.0) -> bytes:
    """A looping GIF."""
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in film)
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=round(1000 / frames_per_second),
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def thumbnail(picture: RgbImage, edge: int = 240) -> RgbImage:
    """Shrunk to at most ``edge`` pixels a side."""
    image = Image.fromarray(picture)
    image.thumbnail((edge, edge))
    return np.asarray(image)


def contact_sheet(entries: Sequence[tuple[str, npt.NDArray[np.uint8]]], columns: int = 5, edge: int = 240) -> RgbImage:
    """Thumbnails with their names below, row by row, RGB uint8."""
    columns = max(1, min(columns, len(entries)))
    rows = -(-len(entries) // columns)
    line = 18
    sheet = Image.new("RGB", (columns * (edge + 8) + 8, rows * (edge + line + 8) + 8), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (name, picture) in enumerate(entries):
        left, top = 8 + number % columns * (edge + 8), 8 + number // columns * (edge + line + 8)
        image = Image.fromarray(thumbnail(picture, edge))
        sheet.paste(image, (left + (edge - image.width) // 2, top + edge - image.height))
        shown = name if len(name) <= edge // 7 else f"…{name[-edge // 7 + 1 :]}"
        draw.text((left, top + edge + 2), shown, fill="black", font=font)
    return np.asarray(sheet)


def table(records: Sequence[Mapping[str, Any]], folder: Path) -> bytes:
    """One CSV line for each result of a folder: what it was made from, and what its numbers mean."""
    columns = ("input", "depth", "model", "space", "metric", "low", "high", "uncertainty_mean", "ensemble", "seconds")
    text = io.StringIO()
    lines = csv.DictWriter(text, columns, lineterminator="\n")
    lines.writeheader()
    for record in records:
        scale = record.get("depth_png") or record.get("depth_16bit") or record.get("depth_10bit") or {}
        files = [name for name in record["files"] if ".depth" in name]
        place = Path(record["stem"]).relative_to(folder).parent
        lines.writerow(
            {
                "input": record["input"],
                "depth": (place / files[0]).as_posix() if files else "",
                "model": record["model"],
                "space": record["space"],
                "metric": record["metric"],
                "low": scale.get("low"),
                "high": scale.get("high"),
                "uncertainty_mean": record.get("uncertainty", {}).get("mean"),
                "ensemble": record["settings"].get("ensemble"),
                "seconds": record.get("meta", {}).get("seconds"),
            }
        )
    return text.getvalue().encode()
