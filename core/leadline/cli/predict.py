"""`leadline predict`: depth maps from photographs, folders, globs and videos."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.loading import load
from leadline.cli.options import (
    EXIT_BAD_INPUT,
    backend_option,
    compile_option,
    decoder_option,
    inference_options,
    model_options,
    out_option,
    sampled,
    speed_option,
)
from leadline.cli.progress import Lines, progress
from leadline.cli.scene import camera_options, chosen_camera, metric_options, with_metres
from leadline.errors import InputError, LeadlineError

if TYPE_CHECKING:
    from leadline.checkpoints.quality import Speed
    from leadline.depth.prediction import DepthPrediction
    from leadline.files.inputs import Job
    from leadline.files.journal import Source
    from leadline.files.pictures import Colours
    from leadline.files.stages import Done
    from leadline.inference.compiling import CompileMode
    from leadline.inference.estimator import DepthEstimator
    from leadline.inference.openvino_stages import Backend
    from leadline.types import RgbImage
    from leadline.video.predict import VideoFormat


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
    speed: Speed
    encoder: str
    decoder: str
    backend: Backend
    framing: str
    detail: str
    npy: bool
    exr: bool
    controlnet: bool
    colours: Colours = "turbo"
    side_by_side: bool = False
    parallax: str | None = None
    references: tuple[tuple[float, ...], ...] = ()
    lengths: tuple[tuple[float, ...], ...] = ()
    camera_height_m: float | None = None
    pitch_deg: float = 0.0
    focal_px: float | None = None
    lens_mm: float | None = None
    fov: float | None = None

    @property
    def wants_metres(self) -> bool:
        """Whether something is known that gives metres."""
        return bool(self.references or self.lengths or self.camera_height_m is not None)


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@out_option(default="out")
@model_options
@inference_options
@click.option(
    "--framing",
    type=click.Choice(["pad", "official"]),
    default="pad",
    show_default=True,
    help="official: resize exactly as the authors' scripts.",
)
@click.option(
    "--detail",
    type=click.Choice(["off", "edges", "tiles"]),
    default="off",
    show_default=True,
    help="edges: steps in depth where the photograph has its edges. tiles: also detail from a closer look; many times slower.",
)
@metric_options
@camera_options
@decoder_option
@speed_option
@backend_option
@compile_option
@click.option("--npy", is_flag=True, help="Photographs: also write the raw float32 map (and its uncertainty) as .npy.")
@click.option("--exr", is_flag=True, help="Also write the raw float32 map as OpenEXR; of a video instead of PNG.")
@click.option(
    "--controlnet", is_flag=True, help="Photographs: also write the 8-bit near-is-bright map that ControlNets take."
)
@click.option(
    "--colours",
    type=click.Choice(["turbo", "spectral", "magma", "grey"]),
    default="turbo",
    show_default=True,
    help="Of the preview; near is warm or bright.",
)
@click.option("--side-by-side", is_flag=True, help="Photographs: also write photograph and depth with a legend.")
@click.option(
    "--parallax", type=click.Choice(["gif", "mp4"]), help="Photographs: also write a film of a camera that sways."
)
@click.option("--sheet", is_flag=True, help="Also write contact-sheet.jpg and results.csv of everything named.")
@click.option(
    "--video-format",
    type=click.Choice(["png", "exr", "ffv1", "prores"]),
    default="png",
    show_default=True,
    help="Depth of a video: 16-bit PNGs, float32 EXRs, one lossless 16-bit film (FFV1, .mkv), or one of 10 bits for editing (ProRes 4444, .mov; not exact).",
)
@click.option("--flicker", is_flag=True, help="Videos: every frame by itself, without holding it still over time.")
@click.option(
    "--look-ahead",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="FRAMES",
    help="Videos: hold a frame still by so many frames to come, too; 4 is a good number.",
)
@click.option("--memory-budget", default=None, help="What the process may take, such as 4GB: fewer maps at once.")
@click.option("--overwrite", is_flag=True, help="Do files again, and replace results of other files of the same name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per input on standard output, no progress bar.")
@click.option("--quiet", is_flag=True, help="No progress and no summary; errors are still told.")
@click.option("--show", is_flag=True, help="Show the results in the terminal.")
def command(
    inputs: tuple[str, ...], out: Path, model: str, vae: str | None, device: str, precision: str, decoder: str, speed: Speed,
    backend: Backend, compiled: CompileMode, memory_budget: str | None, video_format: VideoFormat, flicker: bool, look_ahead: int, sheet: bool,
    overwrite: bool, as_json: bool, quiet: bool, show: bool, **options: Any,
) -> None:  # fmt: skip
    """Depth maps from photographs, folders, globs and videos.

    \b
    leadline predict photo.jpg                      into out/
    leadline predict holiday/ clip.mp4 -o depth     a folder keeps its sub-folders
    leadline predict photo.jpg --ensemble 4 --npy   with uncertainty, and as float32
    leadline predict holiday/ --sheet --side-by-side   pictures to show around
    leadline predict street.jpg --camera-height 1.6 --lens-mm 26   in metres

    \b
    For each photograph the output folder gets
      NAME.depth.png        16 bits; NAME.json has its scale
      NAME.preview.png      to look at: near is warm
      NAME.uncertainty.png  with --ensemble 2 or more
      NAME.json             what the numbers mean, and how they were made
    and for each video
      NAME.depth/           one 16-bit PNG a frame (or see --video-format)
      NAME.preview.mp4      photograph and depth side by side, with the sound
      NAME.frames.csv, NAME.json

    Run again, it skips what is done: the same data, settings and weights. A stopped run goes on where it was.
    """
    from contextlib import closing

    from leadline.checkpoints.identity import weights_digest
    from leadline.checkpoints.quality import parts_at
    from leadline.files import inputs as naming
    from leadline.files.stages import staged

    plan = naming.plan(inputs, out)
    for path in plan.skipped:
        click.echo(f"leadline: {path} skipped, its name is not an image's or a video's", err=True)
    options = sampled(model, options)
    encoder, decoder = (str(part) for part in parts_at(speed, "full", decoder))
    settings = Settings(
        model, weights_digest(model, vae, decoder, encoder), precision=precision, speed=speed, encoder=encoder, decoder=decoder,
        backend=backend, **options,
    )  # fmt: skip
    failures = 0
    with progress(len(plan.jobs), quiet=quiet or as_json) as told:
        run = _Run(
            settings,
            model,
            vae,
            device,
            memory_budget,
            compiled,
            video_format,
            not flicker,
            look_ahead,
            overwrite,
            told,
        )
        run.refuse_misfits(plan.jobs)
        try:
            stages = staged(plan.jobs, run.read, run.work, alone=lambda job: job.is_video)
            with closing(stages) as results:
                for job, result in results:
                    failed = isinstance(result, LeadlineError)
                    if failed:
                        failures += 1
                        told.say(f"leadline: {result}")
                    elif show and not job.is_video:
                        _show_stored(job, told)
                    if as_json:
                        report = {"input": str(job.source), "error": str(result)} if failed else result
                        click.echo(json.dumps(report, default=str))
                    told.end()
        except KeyboardInterrupt:
            told.stop()
            _say_what_was_kept(run, plan.jobs)
            raise
    if sheet:
        _write_sheet(plan.jobs, out)
    if not (quiet or as_json):
        done = len(plan.jobs) - failures
        before = f" ({run.found} of them earlier)" if run.found else ""
        where = f", results in {out}/" if done else ""
        click.echo(f"{done} of {len(plan.jobs)} done{before}{where}", err=True)
    if failures:
        sys.exit(EXIT_BAD_INPUT)


class _Run:
    """One call of the command; the model is loaded when the first file needs it."""

    def __init__(
        self, settings: Settings, model: str, vae: str | None, device: str, memory_budget: str | None,
        compiled: CompileMode, video_format: VideoFormat, steady: bool, look_ahead: int, overwrite: bool,
        told: Lines,
    ) -> None:  # fmt: skip
        self.settings, self.steady, self.look_ahead = settings, steady, look_ahead
        self.video_format: VideoFormat = "exr" if settings.exr and video_format == "png" else video_format
        self.overwrite, self.told = overwrite, told
        self._loading = {
            "device": device, "precision": settings.precision, "vae": vae, "decoder": settings.decoder,
            "encoder": settings.encoder, "speed": settings.speed, "memory_budget": memory_budget, "compiled": compiled,
            "backend": settings.backend,
        }  # fmt: skip
        self._model = model
        self._estimator: DepthEstimator | None = None
        self.found = 0  # finished earlier
        self.made = 0  # finished now
        self.film: Job | None = None  # in hand

    @property
    def estimator(self) -> DepthEstimator:
        """Loaded once; a model or option that cannot be used ends the run."""
        if self._estimator is None:
            try:
                self._estimator = load(self._model, **self._loading)
                chosen = self.settings
                self._estimator.checked_steps(chosen.steps, chosen.ensemble, chosen.size)
            except LeadlineError as error:
                raise Unusable(str(error)) from error
        return self._estimator

    def refuse_misfits(self, jobs: Any) -> None:
        """Options that some input cannot take are told before anything is computed."""
        for name in ("npy", "controlnet", "side_by_side", "parallax"):
            if getattr(self.settings, name) and any(job.is_video for job in jobs):
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} is for photographs; a video's float32 maps come with --exr")
        if self.settings.wants_metres and any(job.is_video for job in jobs):
            raise click.UsageError(
                "metres from one photograph are not for videos; `leadline bag` has metric depth of streams"
            )
        if (self.settings.references or self.settings.lengths) and len(jobs) > 1:
            raise click.UsageError("--reference and --reference-length are pixels of one photograph; name one")

    def read(self, job: Job) -> _Photograph | Job | Done[dict[str, Any]]:
        """What the network takes; a film is read later, a finished file needs nothing."""
        from leadline.files import journal
        from leadline.files.image import count_frames
        from leadline.files.stages import Done

        record = None if self.overwrite else journal.finished(job.stem, job.source, self._plain(job))
        if record is not None:
            self.found += 1
            return Done({"input": str(job.source), "output": f"{job.stem}.json", "skipped": "already done"})
        if job.is_video:
            return job
        image, source = _read(job.source)
        if not self.overwrite:
            journal.refuse_other(job.stem, source)
        return _Photograph(image, source, count_frames(job.source))

    def work(self, job: Job, given: _Photograph | Job) -> Callable[[], dict[str, Any]] | Done[dict[str, Any]]:
        """Depth of one file; writes a film's, gives the function that writes a photograph's."""
        self.told.begin(job.source.name)
        if isinstance(given, _Photograph):
            if given.frames > 1:
                self.told.warn(f"{job.source} has {given.frames} pictures; the first is used (make it a video for all)")
            plain = self._plain(job)
            options = {name: plain[name] for name in ("steps", "ensemble", "size", "seed", "framing", "detail")}
            return partial(self._write, job, given, self.estimator.predict(given.image, **options))
        from leadline.files.stages import Done
        from leadline.video.predict import write_video_depth

        self.film = job
        done = write_video_depth(
            self.estimator, job.source, job.stem, self._plain(job), steady=self.steady, look_ahead=self.look_ahead,
            video_format=self.video_format,            overwrite=self.overwrite, on_frames=self.told.frames, on_warning=self.told.warn,
        )  # fmt: skip
        self.film = None
        self.made += 1
        return Done({**done.record, "output": f"{job.stem}.json"})

    def _write(self, job: Job, photograph: _Photograph, prediction: DepthPrediction) -> dict[str, Any]:
        from leadline.files import journal

        image = photograph.image
        if self.settings.wants_metres:
            chosen = self.settings
            height, width = image.shape[:2]
            camera = chosen_camera(job.source, width, height, chosen.focal_px, chosen.lens_mm, chosen.fov)
            prediction = with_metres(
                image, prediction, camera, chosen.references, chosen.lengths, chosen.camera_height_m, chosen.pitch_deg
            )
        record, parts = result_of(prediction, self.settings, image)
        record = {"input": str(job.source), **record, "meta": dict(prediction.meta)}
        record = journal.commit(job.stem, photograph.source, self._plain(job), record, parts, self.overwrite)
        self.made += 1
        return {**record, "output": f"{job.stem}.json"}

    def _plain(self, job: Job) -> dict[str, Any]:
        """What decides a file's result."""
        plain = asdict(self.settings)
        if not job.is_video:
            return plain
        from leadline.video.predict import video_settings

        return video_settings(plain, self.steady, self.look_ahead, self.video_format)


@dataclass(frozen=True)
class _Photograph:
    """A picture, the data that it was decoded from, and how many pictures there are in the file."""

    image: RgbImage
    source: Source
    frames: int


def _read(path: Path) -> tuple[RgbImage, Source]:
    """A photograph and the digest of the data that it was decoded from.

    Raises:
        InputError: It cannot be read, or changed meanwhile.
    """
    from leadline.files import journal
    from leadline.files.image import read_image

    try:
        before = journal.stamp_of(path)
    except (OSError, ValueError):
        before = ()  # reading says what is wrong
    image = read_image(path)  # complains about what is no image before all of it is read
    source = journal.identify(path)
    if source.stamp != before:
        raise InputError(f"{path} changed while it was read; run again when it is complete")
    return image, source


class Unusable(click.ClickException):
    """The run cannot begin; told once, not for every input."""

    exit_code = EXIT_BAD_INPUT


def result_of(
    prediction: DepthPrediction, settings: Settings, photo: RgbImage
) -> tuple[dict[str, Any], dict[str, bytes | Path]]:
    """What the JSON file says of a prediction, and its pictures and arrays: suffix → content."""
    from leadline.files import output, pictures

    scale = output.Quantisation.of(prediction.values)
    record: dict[str, Any] = {
        "model": prediction.model,
        "space": prediction.space.value,
        "near_is_high": prediction.space.near_is_high,
        "metric": prediction.metric,
        "depth_png": {"low": scale.low, "high": scale.high, "value": "low + (high - low) * code / 65535"},
    }
    parts: dict[str, bytes | Path] = {
        ".depth.png": output.png(scale.encode(prediction.values)),
        ".preview.png": output.png(pictures.depth_picture(prediction, settings.colours)),
    }
    spread = prediction.uncertainty
    if spread is not None:
        parts[".uncertainty.png"] = output.png(output.uncertainty_preview(spread))
        unit = prediction.space.value
        record["uncertainty"] = {"max": float(spread.max()), "mean": float(spread.mean()), "unit": unit}
    if settings.npy:
        parts[".depth.npy"] = output.npy(prediction.values)
        if spread is not None:
            parts[".uncertainty.npy"] = output.npy(spread)
    if settings.exr:
        parts[".depth.exr"] = output.exr(prediction.values)
    if settings.controlnet:
        parts[".controlnet.png"] = output.png(output.conditioning_map(prediction))
    if settings.side_by_side:
        parts[".side.png"] = output.png(pictures.side_by_side(photo, prediction, settings.colours))
    if settings.parallax == "gif":
        parts[".parallax.gif"] = pictures.gif(pictures.parallax(photo, prediction))
    elif settings.parallax == "mp4":
        from leadline.files.film import mp4

        parts[".parallax.mp4"] = mp4(pictures.parallax(photo, prediction) * 3, frames_per_second=15.0)
    return record, parts


def _write_sheet(jobs: Any, out: Path) -> None:
    """A contact sheet and a table of the results that are there."""
    from leadline.files import journal, pictures
    from leadline.files.image import read_image
    from leadline.files.output import jpeg
    from leadline.files.whole import write_bytes

    shown, records = [], []
    for job in jobs:
        record = journal.read_record(job.stem)
        if not record or record.get("unfinished"):
            continue
        records.append({**record, "stem": str(job.stem)})
        preview = job.stem.with_name(f"{job.stem.name}.preview.png")
        if preview.exists():
            shown.append((job.stem.relative_to(out).as_posix(), pictures.thumbnail(read_image(preview))))
    if shown:
        write_bytes(out / "contact-sheet.jpg", jpeg(pictures.contact_sheet(shown)))
    if records:
        write_bytes(out / "results.csv", pictures.table(records, out))


def _show_stored(job: Job, told: Lines) -> None:
    from leadline.files.image import read_image

    stored = [job.stem.with_name(f"{job.stem.name}.{what}.png") for what in ("preview", "uncertainty")]
    told.show(job.source.name, read_image(job.source), *(read_image(path) for path in stored if path.exists()))


def _say_what_was_kept(run: _Run, jobs: Any) -> None:
    from leadline.video.predict import kept_frames

    frames = 0 if run.film is None else kept_frames(run.film.stem)
    part = f", and {frames} frames of {run.film.source.name}" if run.film is not None and frames else ""
    click.echo(
        f"leadline: stopped; {run.found + run.made} of {len(jobs)} files are done{part}; run it again to go on",
        err=True,
    )
