"""What `predict`, `mesh` and `view` ask about the camera, and the known metres of a photograph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from leadline.cli.options import sampled
from leadline.errors import InputError

if TYPE_CHECKING:
    from leadline.depth.prediction import DepthPrediction
    from leadline.geometry import Pinhole
    from leadline.geometry.export import Scene
    from leadline.types import RgbImage

F = TypeVar("F", bound=Callable[..., Any])


def _numbers(names: str) -> Callable[..., tuple[tuple[float, ...], ...]]:
    """A callback that reads numbers with commas between, as many as ``names`` has words."""

    def read(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        return tuple(one(value) for value in values)

    def one(value: str) -> tuple[float, ...]:
        try:
            numbers = tuple(float(word) for word in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(names.split(",")):
            raise click.BadParameter(f"'{value}' is not {names}: numbers with commas between")
        return numbers

    return read


def camera_options(function: F) -> F:
    """--focal-px, --lens-mm, --fov."""
    for option in (
        click.option("--fov", type=float, help="Horizontal field of view, degrees."),
        click.option("--lens-mm", type=float, help="Focal length as for full frame (36 mm along the long edge)."),
        click.option(
            "--focal-px", type=float, help="Focal length in pixels.  [default: from EXIF, else 1.2 x the long edge]"
        ),
    ):
        function = option(function)
    return function


def metric_options(function: F) -> F:
    """--reference, --reference-length, --camera-height, --pitch: what makes a map metric."""
    for option in (
        click.option(
            "--pitch",
            "pitch_deg",
            type=click.FloatRange(-89, 89),
            default=0.0,
            show_default=True,
            help="With --camera-height: how far the camera looks down, degrees.",
        ),
        click.option(
            "--camera-height",
            "camera_height_m",
            type=float,
            help="Metres: the camera's height above flat ground that the lower part of the picture shows.",
        ),
        click.option(
            "--reference-length",
            "lengths",
            callback=_numbers("X1,Y1,X2,Y2,METRES"),
            metavar="X1,Y1,X2,Y2,METRES",
            multiple=True,
            help="Metres: two pixels whose distance in the scene is known. May be repeated.",
        ),
        click.option(
            "--reference",
            "references",
            callback=_numbers("X,Y,METRES"),
            metavar="X,Y,METRES",
            multiple=True,
            help="Metres: a pixel whose depth is known. May be repeated; two or more give scale and shift.",
        ),
    ):
        function = option(function)
    return function


def surface_options(function: F) -> F:
    """--cut, --no-sky: what of a scene becomes a surface."""
    for option in (
        click.option("--no-sky", is_flag=True, help="Leave out the sky."),
        click.option(
            "--cut",
            type=click.FloatRange(0, 1),
            default=0.1,
            show_default=True,
            help="Relative jump in depth that is cut open; 1 cuts nothing.",
        ),
    ):
        function = option(function)
    return function


def range_options(function: F) -> F:
    """--near, --far: where a map without metres is laid out."""
    for option in (
        click.option("--far", type=float, default=6.0, show_default=True, help="Assumed farthest distance, metres."),
        click.option("--near", type=float, default=1.5, show_default=True, help="Assumed nearest distance, metres."),
    ):
        function = option(function)
    return function


def chosen_camera(
    image: Path, width: int, height: int, focal_px: float | None, lens_mm: float | None, fov: float | None
) -> Pinhole:
    """The camera of a photograph, by its options, else its EXIF, else a guess.

    Raises:
        InputError: The options contradict each other or are no camera's.
    """
    from leadline.geometry import Pinhole, focal_px_from_photo

    if sum(given is not None for given in (focal_px, lens_mm, fov)) > 1:
        raise InputError("--focal-px, --lens-mm and --fov say the same thing; give one of them")
    try:
        if lens_mm is not None:
            return Pinhole.from_lens(width, height, lens_mm)
        if fov is not None:
            return Pinhole.from_fov(width, height, fov)
        if focal_px is None:
            focal_px = focal_px_from_photo(image, width, height)
        return Pinhole.default(width, height) if focal_px is None else Pinhole(width, height, focal_px)
    except ValueError as error:
        raise InputError(str(error)) from error


def with_metres(
    photo: RgbImage,
    prediction: DepthPrediction,
    camera: Pinhole,
    references: Any,
    lengths: Any,
    camera_height_m: float | None,
    pitch_deg: float,
) -> DepthPrediction:
    """The prediction in metres if there is evidence, else as it is."""
    if not references and not lengths and camera_height_m is None:
        return prediction
    from leadline.completion.one_photo import Length, Reference, metric_from_one_photo
    from leadline.sensors.camera import CalibratedCamera

    return metric_from_one_photo(
        photo,
        prediction,
        CalibratedCamera.from_pinhole(camera),
        references=[Reference(*one) for one in references],
        lengths=[Length(*one) for one in lengths],
        camera_height_m=camera_height_m,
        pitch_deg=pitch_deg,
    )


def reconstruct(
    image: Path, *, model: str, vae: str | None, device: str, precision: str, quality: str | None, steps: int | None,
    ensemble: int | None, size: int | None, seed: int, focal_px: float | None, lens_mm: float | None, fov: float | None, near: float,
    far: float, **evidence: Any,
) -> Scene:  # fmt: skip
    """Depth and camera of a photograph, by the options of the command line."""
    from leadline.files.image import read_image

    photo = read_image(image)
    camera = chosen_camera(image, photo.shape[1], photo.shape[0], focal_px, lens_mm, fov)
    if not 0 < near < far:
        raise InputError(f"--near {near:g} and --far {far:g} are no range; near has to be smaller, and above 0")
    network = sampled(model, {"quality": quality, "steps": steps, "ensemble": ensemble, "size": size, "seed": seed})
    from leadline.cli.loading import load
    from leadline.geometry.export import Scene

    estimator = load(model, device=device, precision=precision, vae=vae)
    prediction = estimator.predict(photo, **network)
    return Scene.of(photo, with_metres(photo, prediction, camera, **evidence), camera, (near, far))


def write_panorama(
    image: Path, out: Path, vertices: int, *, model: str, vae: str | None, device: str, precision: str, quality: str | None,
    steps: int | None, ensemble: int | None, size: int | None, seed: int, near: float, far: float, **other: Any,
) -> str:  # fmt: skip
    """Depth of a 360° panorama as a mesh, by the options of the command line; returns what was done, in words."""
    from leadline.files.image import read_image
    from leadline.geometry.export import export_panorama

    for name in ("focal_px", "lens_mm", "fov", "references", "lengths", "camera_height_m"):
        if other.get(name):
            raise InputError(
                "a panorama has no lens and knows no metres: camera and reference options are for other kinds"
            )
    if not 0 < near < far:
        raise InputError(f"--near {near:g} and --far {far:g} are no range; near has to be smaller, and above 0")
    photo = read_image(image)
    network = sampled(model, {"quality": quality, "steps": steps, "ensemble": ensemble, "size": size, "seed": seed})
    from leadline.cli.loading import load

    estimator = load(model, device=device, precision=precision, vae=vae)
    mesh, first = export_panorama(
        out, photo, lambda picture: estimator.predict(picture, **network), range_m=(near, far), vertices=vertices
    )
    return (
        f"{out}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, "
        f"distance {mesh.depth.min():.2f} to {mesh.depth.max():.2f}, {said_of_scale(first)}"
    )


def said_of_scale(prediction: DepthPrediction) -> str:
    """In words, where the metres of a scene come from."""
    if not prediction.metric:
        return "metres assumed from --near and --far"
    evidence = prediction.meta.get("completion", {}).get("evidence", "the model itself")
    return f"metres from {evidence}"
