"""`leadline predict`: depth maps from photographs, folders, globs and videos."""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.options import compile_option, decoder_option, inference_options, model_options
from leadline.errors import InputError, LeadlineError

if TYPE_CHECKING:
    from leadline.depth.prediction import DepthPrediction
    from leadline.inference.compiling import CompileMode
    from leadline.inference.estimator import DepthEstimator

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})


@dataclass(frozen=True)
class Job:
    """One input file and the path, without suffix, that its outputs share."""

    source: Path
    stem: Path

    @property
    def is_video(self) -> bool:
        return self.source.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Settings:
    """What decides the numbers and files of a run; a finished file is done again if any of it changed."""

    model: str
    weights: str
    steps: int | None
    ensemble: int
    size: int | None
    seed: int
    precision: str
    decoder: str
    framing: str
    npy: bool
    exr: bool
    controlnet: bool


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "-o", "--output", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder for the results."
)
@model_options
@inference_options
@click.option(
    "--framing",
    type=click.Choice(["pad", "official"]),
    default="pad",
    show_default=True,
    help="official: resize exactly as the authors' scripts.",
)
@decoder_option
@compile_option
@click.option("--npy", is_flag=True, help="Also write the raw float32 map (and its uncertainty) as .npy.")
@click.option("--exr", is_flag=True, help="Also write the raw float32 map as OpenEXR.")
@click.option("--controlnet", is_flag=True, help="Also write the 8-bit near-is-bright map that depth ControlNets take.")
@click.option("--memory-budget", default=None, help="What the process may take, such as 4GB: fewer members at once.")
@click.option("--overwrite", is_flag=True, help="Do files again that an earlier run finished.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per input on standard output, no progress bar.")
@click.option("--quiet", is_flag=True, help="No progress and no summary; errors are still told.")
@click.option("--show", is_flag=True, help="Show the results in the terminal.")
def command(
    inputs: tuple[str, ...], output: Path, model: str, vae: str | None, device: str, precision: str, decoder: str,
    compiled: CompileMode, memory_budget: str | None,
    overwrite: bool, as_json: bool, quiet: bool, show: bool, **options: Any,
) -> None:  # fmt: skip
    """Depth maps from photographs, folders, globs and videos.

    For each INPUT the output folder gets NAME.depth.png (16 bits), NAME.preview.png (near is warm),
    NAME.uncertainty.png and NAME.json (what the numbers mean and how they were made).
    """
    jobs = list(_jobs(inputs, output))
    from leadline.inference.estimator import load

    estimator = load(
        model,
        device=device,
        precision=precision,
        vae=vae,
        decoder=decoder,
        memory_budget=memory_budget,
        compiled=compiled,
    )
    estimator.checked_steps(options["steps"], options["ensemble"], options["size"])
    settings = Settings(
        estimator.name, estimator.weights_hash[:12], precision=precision, decoder=estimator.decoder, **options
    )
    failures = 0
    with _progress(len(jobs), quiet=quiet or as_json) as advance:
        for job in jobs:
            try:
                if not overwrite and _finished(job, settings):
                    report = {"input": str(job.source), "output": f"{job.stem}.json", "skipped": "already done"}
                elif job.is_video:
                    report = _run_video(estimator, job, settings, show)
                else:
                    report = _run_image(estimator, job, settings, show)
            except LeadlineError as error:
                failures += 1
                report = {"input": str(job.source), "error": str(error)}
                click.echo(f"leadline: {error}", err=True)
            if as_json:
                click.echo(json.dumps(report))
            advance(job.source.name)
    if not (quiet or as_json):
        done = len(jobs) - failures
        where = f", results in {output}/" if done else ""
        click.echo(f"{done} of {len(jobs)} done{where}", err=True)
    if failures:
        sys.exit(2)


def _jobs(inputs: tuple[str, ...], output: Path) -> Iterator[Job]:
    """Every file that the inputs mean, each once, with an output name that no other has."""
    from leadline.files.image import IMAGE_SUFFIXES

    readable = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    found: dict[Path, Path] = {}
    for given in inputs:
        path = Path(given)
        if len(inputs) > 1 and path.is_file() and path.suffix.lower() not in readable:  # a shell's * takes everything
            click.echo(f"leadline: {path} skipped, its name is not an image's or a video's", err=True)
            continue
        if path.is_dir():
            inside = [f for f in sorted(path.rglob("*")) if f.suffix.lower() in readable and f.is_file()]
            if not inside:
                raise InputError(f"{path} has no images or videos in it; name another folder")
            found |= {file: file.relative_to(path) for file in inside}
        elif path.exists() or not glob.has_magic(given):
            found[path] = Path(path.name)
        else:
            matches = [Path(match) for match in sorted(glob.glob(given, recursive=True)) if Path(match).is_file()]
            if not matches:
                raise InputError(f"nothing matches {given}; check the pattern")
            found |= {match: Path(match.name) for match in matches}
    stems = [relative.with_suffix("") for relative in found.values()]
    taken: set[Path] = set()
    for (source, relative), stem in zip(found.items(), stems, strict=True):
        name = stem if stems.count(stem) == 1 else relative  # photo.jpg and photo.png keep their suffixes
        number = 2
        unique = name
        while unique in taken:
            unique = name.with_name(f"{name.name}-{number}")
            number += 1
        taken.add(unique)
        yield Job(source, output / unique)


def _finished(job: Job, settings: Settings) -> bool:
    """Whether an earlier run with the same settings wrote everything; its JSON file is written last."""
    try:
        record = json.loads(Path(f"{job.stem}.json").read_text())
        source = job.source.stat()
        return bool(
            record.get("settings") == asdict(settings)
            and record.get("source_bytes") == source.st_size
            and all((job.stem.parent / name).exists() for name in record["files"])
        )
    except (OSError, ValueError, KeyError):
        return False


def _run_image(estimator: DepthEstimator, job: Job, settings: Settings, show: bool) -> dict[str, Any]:
    from leadline.files.image import read_image
    from leadline.files.output import write_json

    image = read_image(job.source)
    prediction = estimator.predict(image, **_predict_options(settings))
    record = {
        "input": str(job.source),
        **_write_maps(prediction, job.stem, settings),
        "meta": dict(prediction.meta),
        "settings": asdict(settings),
        "source_bytes": job.source.stat().st_size,
    }
    write_json(Path(f"{job.stem}.json"), record)
    if show:
        _show(image, prediction)
    return {**record, "output": f"{job.stem}.json"}


def _run_video(estimator: DepthEstimator, job: Job, settings: Settings, show: bool) -> dict[str, Any]:
    from leadline.cli.video import run_video

    return run_video(estimator, job.source, job.stem, asdict(settings), _predict_options(settings), show=show)


def _predict_options(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("steps", "ensemble", "size", "seed", "framing")}


def _write_maps(prediction: DepthPrediction, stem: Path, settings: Settings) -> dict[str, Any]:
    """All pictures and arrays of one prediction; returns what the JSON file says of them."""
    from leadline.files import output

    scale = output.Quantisation.of(prediction.values)
    record: dict[str, Any] = {
        "model": prediction.model,
        "space": prediction.space.value,
        "near_is_high": prediction.space.near_is_high,
        "metric": prediction.metric,
        "depth_png": {"low": scale.low, "high": scale.high, "value": "low + (high - low) * code / 65535"},
    }
    files = []

    def place(suffix: str) -> Path:
        files.append(f"{stem.name}{suffix}")
        return Path(f"{stem}{suffix}")

    output.write_png(place(".depth.png"), scale.encode(prediction.values))
    output.write_png(place(".preview.png"), output.preview(prediction))
    if prediction.uncertainty is not None:
        spread = output.Quantisation.of(prediction.uncertainty)
        output.write_png(place(".uncertainty.png"), output.uncertainty_preview(prediction.uncertainty))
        record["uncertainty"] = {
            "max": spread.high,
            "mean": float(prediction.uncertainty.mean()),
            "unit": prediction.space.value,
        }
    if settings.npy:
        output.write_npy(place(".depth.npy"), prediction.values)
        if prediction.uncertainty is not None:
            output.write_npy(place(".uncertainty.npy"), prediction.uncertainty)
    if settings.exr:
        output.write_exr(place(".depth.exr"), prediction.values)
    if settings.controlnet:
        output.write_png(place(".controlnet.png"), output.conditioning_map(prediction))
    return {**record, "files": files}


def _show(image: Any, prediction: DepthPrediction) -> None:
    from rich.console import Console

    from leadline.cli.terminal import show
    from leadline.files.output import preview, uncertainty_preview

    pictures = [image, preview(prediction)]
    if prediction.uncertainty is not None:
        pictures.append(uncertainty_preview(prediction.uncertainty))
    show(Console(file=sys.stderr), *pictures)


class _progress:
    """A bar with ETA on standard error; silent for scripts."""

    def __init__(self, total: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(file=sys.stderr, quiet=quiet)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, disable=quiet)
        self.task = self.bar.add_task("predicting", total=total)

    def __enter__(self) -> Any:
        self.bar.start()
        return self.advance

    def advance(self, name: str) -> None:
        self.bar.update(self.task, advance=1, description=name)

    def __exit__(self, *unused: object) -> None:
        self.bar.stop()
