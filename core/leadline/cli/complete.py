"""`leadline complete`: dense metric depth from an image and LiDAR points or sparse depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.options import inference_options, model_options, out_option, sampled
from leadline.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from leadline.completion import Calibration, SparseDepth
    from leadline.depth.prediction import DepthPrediction
    from leadline.types import FloatMap

    Rgb = npt.NDArray[np.uint8]

#: Names of the units of a 16-bit PNG (see leadline.files.metric).
UNIT_NAMES = ["mm", "kitti"]


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--points", type=click.Path(path_type=Path), help="Point cloud: .npy, .npz, .pcd, .ply or .bin.")
@click.option("--calib", type=click.Path(path_type=Path), help="Camera, and the LiDAR's place: .yaml, .json or .txt.")
@click.option("--sparse", type=click.Path(path_type=Path), help="Sparse depth instead of points: 16-bit PNG or .npy.")
@click.option(
    "--sparse-unit",
    type=click.Choice(UNIT_NAMES),
    default="mm",
    show_default=True,
    help="Of a --sparse PNG: mm, 1/256 m.",
)
@out_option(default="out")
@click.option(
    "--png-unit", type=click.Choice(UNIT_NAMES), default="mm", show_default=True, help="Of the depth PNG: mm, 1/256 m."
)
@click.option(
    "--method",
    type=click.Choice(["fusion", "scale", "depthfm"]),
    default="fusion",
    show_default=True,
    help="depthfm: a network that sees the points itself (model depthfm-mini-completion).",
)
@click.option(
    "--uncorrected", is_flag=True, help="--method depthfm: the network's metres as they are, not through the points."
)
@click.option(
    "--map",
    "map_",
    type=click.Path(path_type=Path),
    help="Another network's relative map of the image (.npy) instead of a model.",
)
@click.option(
    "--space",
    type=click.Choice(["disparity", "depth", "log_depth", "sqrt_disparity"]),
    help="--map: what its numbers are affine in (Depth Anything: disparity; Marigold, MoGe: depth).",
)
@click.option("--resize-calib", is_flag=True, help="The image was resized (not cropped) after calibration: follow it.")
@click.option("--no-occlusion", is_flag=True, help="Keep points that a nearer surface hides from the camera.")
@click.option("--max-range", type=float, default=None, help="Ignore points farther than this, metres.")
@click.option("--npy", is_flag=True, help="Also write depth and uncertainty as float32 .npy, metres.")
@click.option("--exr", is_flag=True, help="Also write depth as OpenEXR, metres.")
@click.option("--ply", is_flag=True, help="Also write a coloured point cloud (needs --calib).")
@click.option("--overwrite", is_flag=True, help="Replace the result of another file of the same name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output instead of words.")
@click.option("--quiet", is_flag=True, help="No summary; warnings and errors are still told.")
@model_options
@inference_options
def command(
    image: Path, points: Path | None, calib: Path | None, sparse: Path | None, sparse_unit: str, out: Path,
    png_unit: str, method: str, resize_calib: bool, no_occlusion: bool, max_range: float | None, npy: bool, exr: bool,
    ply: bool, overwrite: bool, as_json: bool, quiet: bool, uncorrected: bool, map_: Path | None, space: str | None, model: str, vae: str | None, device: str, precision: str, **options: Any,
) -> None:  # fmt: skip
    """Dense metric depth from IMAGE and --points with --calib, or --sparse.

    \b
    leadline complete photo.jpg --points scan.bin --calib calib.yaml --ply
    leadline complete photo.jpg --sparse depth.png --sparse-unit kitti
    leadline complete photo.jpg --sparse depth.png --map other.npy --space disparity

    The output folder gets NAME.depth.png (16 bits, 0 in the sky), NAME.uncertainty.png (same unit), NAME.preview.png with the points
    drawn in, and NAME.json. Without any usable point the depth is relative, is not written as metres, and NAME.json says
    so; the exit code is then 2.
    """
    from leadline.files import journal
    from leadline.files.image import read_image
    from leadline.files.metric import UNITS

    _check(points, sparse, calib, ply, method, uncorrected, map_, space)
    source = journal.identify(image)
    if not overwrite:
        journal.refuse_other(out / image.stem, source)
    rgb = read_image(image)
    size = (rgb.shape[1], rgb.shape[0])
    calibration = None if calib is None else _calibration(calib, size, resize_calib)
    measured = _measured(points, sparse, calibration, UNITS[sparse_unit], not no_occlusion, max_range)
    from leadline.completion import FusionOptions, complete, complete_with

    camera = None if calibration is None else calibration.camera
    fusion = FusionOptions(through_points=not uncorrected)
    if map_ is not None and space is not None:
        from leadline.files.maps import read_map

        model, weights = f"{map_} ({space})", journal.identify(map_).digest
        result = complete(rgb, read_map(map_, space), measured, camera, method, options=fusion)
    else:
        from leadline.cli.loading import load

        if method == "depthfm" and _unset("model"):
            model = "depthfm-mini-completion"
        options = sampled(model, options)
        estimator = load(model, device=device, precision=precision, vae=vae)
        weights = estimator.weights_hash
        result = complete_with(estimator, rgb, measured, camera, method, options=fusion, **options)
    report = result.meta["completion"]
    stem = out / image.stem
    record = {"input": str(image), "model": result.model, "metric": result.metric, "completion": report}
    record["depth_png"] = {"unit": png_unit, "codes_per_metre": UNITS[png_unit], "unknown": 0}
    settings = {
        "command": "complete",
        "model": model,
        "weights": weights[:16],
        "method": method,
        **options,
    }
    parts = _parts(result, rgb, measured, calibration, png_unit, npy, exr, ply)
    journal.commit(stem, source, settings, record, parts, overwrite)
    dropped = [line for line in report["warnings"] if " points dropped: " in line]
    for warning in report["warnings"]:
        if warning not in dropped:
            click.echo(f"leadline: {warning}", err=True)
    if not result.metric:
        raise InputError(f"no usable point in {points or sparse}; {stem}.preview.png is relative depth")
    if as_json:
        click.echo(json.dumps({"points": report["points"], "output": f"{stem}.json", "warnings": report["warnings"]}))
    elif not quiet:
        left_out = f" ({'; '.join(dropped)})" if dropped else ""
        low, high = float(result.depth_m.min()), float(result.depth_m.max())
        click.echo(f"{stem}.depth.png: {low:.2f} to {high:.2f} m from {report['points']:,} points{left_out}", err=True)


def _check(
    points: Path | None, sparse: Path | None, calib: Path | None, ply: bool, method: str, uncorrected: bool,
    map_: Path | None, space: str | None,
) -> None:  # fmt: skip
    """Which options go together."""
    if (points is None) == (sparse is None):
        raise InputError("give either --points (with --calib) or --sparse")
    if points is not None and calib is None:
        raise InputError("--points needs --calib: where the camera is and how it projects")
    if ply and calib is None:
        raise InputError("--ply needs --calib: a point cloud needs the camera")
    if (map_ is None) != (space is None):
        raise InputError("--map and --space go together: a map, and what its numbers are affine in")
    if map_ is not None and (method == "depthfm" or not _unset("model")):
        raise InputError("--map stands in for the model; leave out --model, and use --method fusion or scale")
    if uncorrected and method != "depthfm":
        raise InputError("--uncorrected is for --method depthfm; for scale and shift alone say --method scale")


def _unset(name: str) -> bool:
    """Whether an option was left at its default."""
    from click.core import ParameterSource

    return click.get_current_context().get_parameter_source(name) is ParameterSource.DEFAULT


def _calibration(path: Path, size: tuple[int, int], resize: bool) -> Calibration:
    from dataclasses import replace

    from leadline.completion import read_calibration

    found = read_calibration(path, image_size=size)
    if resize:
        return replace(found, camera=found.camera.resized(*size))
    if (found.camera.width, found.camera.height) != size:
        raise InputError(
            f"{path} is for {found.camera.width}x{found.camera.height} images but the image is {size[0]}x{size[1]}; "
            "if the image was resized (not cropped), add --resize-calib"
        )
    return found


def _measured(
    points: Path | None,
    sparse: Path | None,
    calibration: Calibration | None,
    per_metre: float,
    occlusion: bool,
    max_range: float | None,
) -> FloatMap | SparseDepth:
    if points is not None and calibration is not None:
        from leadline.completion import project_points, read_points
        from leadline.depth.spaces import MAX_DEPTH_M

        return project_points(
            read_points(points),
            calibration.camera,
            calibration.lidar_to_camera,
            max_range_m=MAX_DEPTH_M if max_range is None else max_range,
            occlusion=occlusion,
        )
    import numpy as np

    from leadline.files.metric import read_sparse

    assert sparse is not None
    depth = read_sparse(sparse, per_metre)
    return depth if max_range is None else np.where(depth <= max_range, depth, np.float32(0))


def _parts(
    result: DepthPrediction,
    rgb: Rgb,
    measured: FloatMap | SparseDepth,
    calibration: Calibration | None,
    unit: str,
    npy: bool,
    exr: bool,
    ply: bool,
) -> dict[str, bytes | Path]:
    """The files of a result: suffix → content."""
    from leadline.completion import SparseDepth
    from leadline.files import output
    from leadline.files.metric import UNITS, codes
    from leadline.files.pointfiles import ply as as_ply

    sparse_map = measured.map() if isinstance(measured, SparseDepth) else measured
    parts: dict[str, bytes | Path] = {".preview.png": output.png(preview(result, rgb, sparse_map))}
    if not result.metric or result.uncertainty is None:
        return parts
    evident = _zero_without_evidence(result)
    maps = ((".depth.png", evident, False), (".uncertainty.png", result.uncertainty, True))
    for suffix, metres, saturate in maps:
        coded = codes(metres, UNITS[unit], saturate)
        parts[suffix] = output.png(coded.codes)
        if coded.misfits:
            what = "saturated" if saturate else "written as 0 (unknown)"
            click.echo(
                f"leadline: {coded.misfits:,} of {metres.size:,} pixels do not fit {suffix} in {unit} and were {what}",
                err=True,
            )
    if npy:
        parts[".depth.npy"] = output.npy(result.depth_m)
        parts[".uncertainty.npy"] = output.npy(result.uncertainty)
        if result.validity is not None:
            parts[".validity.npy"] = output.npy(result.validity)
    if exr:
        parts[".depth.exr"] = output.exr(result.depth_m)
    if ply and calibration is not None:
        there = evident.ravel() > 0
        parts[".ply"] = as_ply(
            calibration.camera.cloud(result.depth_m).reshape(-1, 3)[there], rgb.reshape(-1, 3)[there]
        )
    return parts


def _zero_without_evidence(result: DepthPrediction) -> FloatMap:
    """Metres, 0 ("unknown") in the sky and out of the points' range."""
    import numpy as np

    return np.nan_to_num(result.evident_depth_m, posinf=0.0).astype(np.float32)


def preview(result: DepthPrediction, rgb: Rgb, sparse_map: FloatMap) -> Rgb:
    """RGB (2H, W, 3): the photograph with the points in the colours of their depth, above the depth map."""
    import cv2
    import numpy as np

    from leadline.files.pictures import colourise, depth_picture

    picture = rgb.copy()
    v, u = np.nonzero(np.nan_to_num(sparse_map) > 0)
    if result.metric and len(u):
        near = 1.0 / result.depth_m.astype(np.float64)
        low, high = np.percentile(near, [0.5, 99.5])
        span = max(high - low, 1e-9)
        shade = np.clip((1.0 / sparse_map[v, u] - low) / span, 0, 1).astype(np.float32)
        dots = np.zeros_like(rgb)
        dots[v, u] = colourise(shade[None])[0]
        side = 3 if len(u) < rgb.shape[0] * rgb.shape[1] / 20 else 1
        dots = np.asarray(cv2.dilate(dots, np.ones((side, side), np.uint8)), np.uint8)
        picture = np.where(dots.any(axis=2, keepdims=True), dots, picture // 2)
        depth = colourise(np.clip((near - low) / span, 0, 1).astype(np.float32))
    else:
        depth = depth_picture(result)
    return np.vstack([picture, depth]).astype(np.uint8)
