"""`leadline eval`: score models on data sets, compare, sweep, and measure completion and flicker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.names import datasets, present_models
from leadline.cli.options import decoder_option, speed_option
from leadline.errors import InputError
from leadline.extras import require

if TYPE_CHECKING:
    from leadline.evaluation.runner import Predictor

BASELINES = ("constant", "row")

_PATH = click.Path(path_type=Path)


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    try:
        return tuple(int(word) for word in value.split(",")) if value else ()
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers like 1,2,4", ctx, param) from error


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_model_options = _options(
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        shell_complete=present_models,
        help="Name or checkpoint; repeat for one table.  [default: every mini model]",
    ),
    click.option("--vae", default=None, help="Folder of the VAE, for checkpoints without one."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
    click.option("--precision", default="auto", show_default=True, help="auto, fp32, fp16 or bf16."),
)
_data_options = _options(
    click.option(
        "-d",
        "--dataset",
        default="pairs",
        show_default=True,
        shell_complete=datasets,
        help="`leadline eval datasets` lists them.",
    ),
    click.option("--root", required=True, type=_PATH, help="The data set's folder or tar archive."),
    click.option("--split", type=_PATH, default=None, help="List of frames to use, as in Marigold's data_split."),
    click.option("--limit", type=click.IntRange(1), default=None, help="Use only the first so many frames."),
)
_run_options = _options(
    click.option(
        "-p",
        "--protocol",
        default="own",
        show_default=True,
        help="own, robust, metric, marigold, depthfm, depthmaster, fiffdepth.",
    ),
    click.option("--seed", default=0, show_default=True, help="Start noise."),
    click.option("--batch", default=4, show_default=True, type=click.IntRange(1), help="Images at a time."),
    click.option(
        "-o", "--out", type=_PATH, default=None, help="Folder for the results.  [default: eval/DATASET-PROTOCOL]"
    ),
    click.option("--fresh", is_flag=True, help="Forget earlier results in --out instead of going on with them."),
    click.option("--quiet", is_flag=True, help="No progress."),
)
_sampling_options = _options(
    click.option(
        "--steps",
        type=click.IntRange(1),
        default=None,
        help="Euler steps (NFE).  [default: the protocol's, then the model's]",
    ),
    click.option(
        "--ensemble",
        type=click.IntRange(1),
        default=None,
        help="Members; more than 1 gives uncertainty.  [default: the protocol's, then 1]",
    ),
    click.option(
        "--size",
        type=click.IntRange(0),
        default=None,
        help="Processing long edge; 0 is native.  [default: the protocol's, then the model's]",
    ),
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@_model_options
@_options(
    click.option("-d", "--dataset", default=None, shell_complete=datasets, help="`leadline eval datasets` lists them."),
    click.option("--root", type=_PATH, default=None, help="The data set's folder or tar archive."),
    click.option("--split", type=_PATH, default=None, help="List of frames to use, as in Marigold's data_split."),
    click.option("--limit", type=click.IntRange(1), default=None, help="Use only the first so many frames."),
)
@_run_options
@_sampling_options
@decoder_option
@speed_option
@click.option(
    "--baselines/--no-baselines",
    default=True,
    show_default=True,
    help="Add rows that any model must beat: a constant, and 'depth grows with the row'.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: share the frames out over a cluster.",
)
@click.option("--ray-address", default=None, help="Of a running Ray cluster.  [default: start one here]")
@click.option(
    "--workers", type=click.IntRange(1), default=None, help="Ray workers.  [default: one per GPU, or per two CPU cores]"
)
@click.option("--report/--no-report", default=True, show_default=True, help="Write report.html and PNG pictures.")
@click.option("--papers", is_flag=True, help="Add the papers' rows to the printed table.")
@click.option(
    "--valid-mask-crop",
    type=click.Choice(["none", "garg", "eigen", "nyu"]),
    default=None,
    help="Score only inside this crop.  [default: the data set's, as in Marigold's configuration]",
)
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Score models on a data set, by each paper's protocol.

    \b
    leadline eval --dataset pairs --root FOLDER
    leadline eval -m depthfm -m depthmaster --dataset nyu --root nyu_labeled_extracted.tar --protocol depthfm

    Writes images.csv per model, summary.json, report.html and PNG pictures. A stopped run goes on where it was; files
    that cannot be read are listed and do not stop it. See also the subcommands.
    """
    if ctx.invoked_subcommand is not None:
        return
    if given["dataset"] is None or given["root"] is None:
        raise click.UsageError("--dataset and --root are needed (or a subcommand: see leadline eval --help)", ctx)
    _evaluate(**given)


def _evaluate(
    *, models: tuple[str, ...], vae: str | None, device: str, precision: str, decoder: str, speed: str, dataset: str, root: Path,
    split: Path | None, limit: int | None, protocol: str, seed: int, batch: int, out: Path | None, fresh: bool, quiet: bool, steps: int | None,
    ensemble: int | None, size: int | None, baselines: bool, engine: str, ray_address: str | None, workers: int | None,
    report: bool, papers: bool, markdown: bool, valid_mask_crop: str | None,
) -> None:  # fmt: skip
    from leadline.evaluation.datasets import open_dataset
    from leadline.evaluation.protocols import get_protocol
    from leadline.evaluation.runner import Entry, Sampling, run
    from leadline.evaluation.tables import summary_table

    if report:
        require("matplotlib", "--no-report leaves the report out")
    rules = get_protocol(protocol)
    data = open_dataset(dataset, root, split, limit, valid_mask_crop)
    sampling = Sampling(steps, ensemble, size, seed, batch)
    out = out or Path("eval") / f"{dataset}-{protocol}"
    entries: list[Entry] = []
    for name in _names(models, baselines and rules.aligned):
        make = partial(_load, name, device, precision, vae, decoder, speed)
        model = make()
        shared = None
        if engine == "ray" and name not in BASELINES:
            from leadline.evaluation.ray_engine import ray_engine

            shared = ray_engine(make, rules, sampling.resolve(model, rules, data), batch, workers, ray_address)
        entries.append(Entry(_label(name, model, [e.label for e in entries]), model, shared))
    with _progress(len(entries) * len(data), quiet) as advance:
        summary = run(entries, data, rules, sampling, out, fresh, advance)
    table = summary_table([summary], papers)
    click.echo(table.markdown() if markdown else table.text())
    others = max(model.get("rows_of_other_frames", 0) for model in summary["models"].values())
    if others:
        click.echo(f"leadline: the table is of {len(data)} frames; {others} earlier rows stay in images.csv", err=True)
    if report:
        from leadline.evaluation.report import write_report

        click.echo(f"report: {write_report(out, summary)}", err=True)
    click.echo(f"summary: {out / 'summary.json'}", err=True)


@command.command("datasets")
def datasets_command() -> None:
    """List the data sets and the layout each is expected in."""
    from leadline.evaluation.datasets import READERS

    for reader in READERS.values():
        rules = reader.rules
        limits = (
            f"{rules.min_depth_m:g} to {rules.max_depth_m:g} m, crop {rules.crop}, long edge {rules.size or 'native'}"
        )
        click.echo(f"{reader.name:18}{reader.title}\n{'':18}{reader.layout}\n{'':18}{limits}")


@command.command("protocols")
def protocols_command() -> None:
    """List the protocols and where each comes from."""
    from leadline.evaluation.protocols import PROTOCOLS

    for protocol in PROTOCOLS.values():
        fit = (
            "no fit" if not protocol.aligned else (protocol.space.value if protocol.space else "the model's own space")
        )
        click.echo(f"{protocol.name:14}fit in {fit}\n{'':14}{protocol.source}")


@command.command("metrics")
def metrics_command() -> None:
    """List the metrics: formula, unit and source."""
    from leadline.evaluation.metrics import METRICS

    for name, metric in METRICS.items():
        click.echo(f"{name:18}{metric.label:12}{metric.unit:6}{metric.formula}  [{metric.source}]")


@command.command("compare")
@click.argument("summaries", nargs=-1, required=True, type=_PATH)
@click.option("--papers/--no-papers", default=True, show_default=True, help="The papers' rows for the same data sets.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def compare_command(summaries: tuple[Path, ...], papers: bool, markdown: bool) -> None:
    """Several runs in one table, with the papers' rows beside.

    SUMMARIES are summary.json files, or the folders they lie in.
    """
    from leadline.evaluation.results import read_summary
    from leadline.evaluation.tables import summary_table

    read = [read_summary(path) for path in summaries]
    names = [str(path.parent if path.name == "summary.json" else path) for path in summaries] if len(read) > 1 else []
    table = summary_table(read, papers, names)
    click.echo(table.markdown() if markdown else table.text())


@command.command("papers")
@_model_options
@click.option(
    "--root", required=True, type=_PATH, help="Folder with the data sets: Marigold's layout, or a folder each."
)
@click.option(
    "--paper",
    "papers",
    multiple=True,
    type=click.Choice(["depthfm", "depthmaster", "fiffdepth"]),
    help="Only this paper; repeat.  [default: all three]",
)
@click.option("--limit", type=click.IntRange(1), default=None, help="Use only the first so many frames of each set.")
@_sampling_options
@click.option("--seed", default=0, show_default=True, help="Start noise.")
@click.option("--batch", default=4, show_default=True, type=click.IntRange(1), help="Images at a time.")
@click.option("-o", "--out", type=_PATH, default=Path("eval/papers"), show_default=True, help="Folder for the results.")
@click.option("--fresh", is_flag=True, help="Forget earlier results in --out instead of going on with them.")
@click.option("--quiet", is_flag=True, help="No progress.")
def papers_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, root: Path, papers: tuple[str, ...],
    limit: int | None, steps: int | None, ensemble: int | None, size: int | None, seed: int, batch: int, out: Path,
    fresh: bool, quiet: bool,
) -> None:  # fmt: skip
    """Every table of the three papers that the data at hand allow, ours beside theirs.

    Without --model each paper is run with its family's mini model. Rows made by another rule than ours are marked, and what
    could not be run says what it takes and where that comes from. The tables go to papers.md in --out.
    """
    from functools import lru_cache

    from leadline.completion import complete
    from leadline.evaluation.paper_tables import not_run, page, run_papers
    from leadline.evaluation.runner import Sampling
    from leadline.evaluation.sweeps import load_at_noise
    from leadline.files.whole import write_bytes

    @lru_cache(maxsize=1)  # one at a time: full-size weights are gigabytes
    def make(name: str, noise: int | None) -> Predictor:
        return (
            _load(name, device, precision, vae) if noise is None else load_at_noise(name, noise, device, precision, vae)
        )

    def names_for(family: str) -> list[str]:
        return list(models) or [name for name in _mini_models() if name == f"{family}-mini"]

    sections = []
    sampling = Sampling(steps, ensemble, size, seed, batch)
    with _progress(0, quiet) as advance:
        for section in run_papers(
            root, names_for, make, complete, sampling, out, papers=papers, limit=limit, fresh=fresh, on_outcome=advance
        ):
            sections.append(section)
            for title, table in section.tables:
                click.echo(f"\n{section.title}{' – ' + title if title else ''}\n{table.text()}")
    for line in not_run(sections):
        click.echo(f"not run: {line}", err=True)
    write_bytes(out / "papers.md", page(sections).encode())
    click.echo(f"tables: {out / 'papers.md'}", err=True)
    if not any(section.tables for section in sections):
        raise InputError(f"no table could be run from {root}; see above for what each takes")


@command.command("sweep")
@_model_options
@_data_options
@_run_options
@click.option("--steps", callback=_numbers, metavar="N,N,…", help="Euler steps to try, such as 1,2,4,10.")
@click.option("--ensemble", callback=_numbers, metavar="N,N,…", help="Ensemble sizes to try.")
@click.option(
    "--noise",
    callback=_numbers,
    metavar="N,N,…",
    help="DepthFM noise levels to try, in thousandths, such as 100,200,400.",
)
@click.option("--size", callback=_numbers, metavar="N,N,…", help="Processing long edges to try.")
@click.option("--metric", default="delta1", show_default=True, help="What the plot shows.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def sweep_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, dataset: str, root: Path, split: Path | None,
    limit: int | None, protocol: str, seed: int, batch: int, out: Path | None, fresh: bool, quiet: bool,
    steps: tuple[int, ...], ensemble: tuple[int, ...], noise: tuple[int, ...], size: tuple[int, ...], metric: str, markdown: bool,
) -> None:  # fmt: skip
    """Every combination of steps, ensemble, noise level and size, as a table and a plot.

    DepthFM's Table 3: --steps 1,2,4,10 --ensemble 10. Its Figure 16: --steps 1,2,4 --ensemble 1,2,4,10. Its Table 9:
    --noise 100,200,400,600,800.
    """
    from leadline.evaluation.datasets import open_dataset
    from leadline.evaluation.metrics import METRICS
    from leadline.evaluation.protocols import get_protocol
    from leadline.evaluation.runner import Sampling
    from leadline.evaluation.sweeps import Grid, draw_sweep, load_at_noise, sweep, sweep_table

    require("matplotlib")
    if metric not in METRICS:
        raise InputError(f"there is no metric {metric!r}; `leadline eval metrics` lists them")
    grid = Grid(steps, ensemble, noise, size)
    names = _names(models, baselines=False)
    data = open_dataset(dataset, root, split, limit)
    out = out or Path("eval") / f"sweep-{dataset}-{protocol}"

    def make(name: str, level: int | None) -> Predictor:
        if level is None:
            return _load(name, device, precision, vae)
        return load_at_noise(name, level, device, precision, vae)

    with _progress(len(names) * len(list(grid.points())) * len(data), quiet) as advance:
        report = sweep(
            names, make, data, get_protocol(protocol), Sampling(seed=seed, batch=batch), grid, out, fresh, advance
        )
    table = sweep_table(report)
    click.echo(table.markdown() if markdown else table.text())
    click.echo(f"plot: {draw_sweep(report, out / 'sweep.png', metric)}\nnumbers: {out / 'sweep.json'}", err=True)


@command.command("completion")
@_model_options
@_data_options
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    help="half, 2%, 500, 16-line, 64-line, given; repeat.  [default: 500, 2%, half, 16-line, 64-line]",
)
@click.option(
    "--outliers",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0, 0.9),
    help="Share of the points to spoil first.",
)
@click.option("--seed", default=0, show_default=True, help="Of the patterns and the start noise.")
@click.option("--ensemble", default=4, show_default=True, type=click.IntRange(1), help="Members of the prediction.")
@click.option(
    "--size", type=click.IntRange(0), default=None, help="Processing long edge; 0 is native.  [default: the model's]"
)
@click.option(
    "-o", "--out", type=_PATH, default=None, help="Folder for the results.  [default: eval/completion-DATASET]"
)
@click.option(
    "--board", is_flag=True, help="The stress board: patterns x faults x methods, as CSV and one HTML page; resumes."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="--board: none, noise-5%, outliers-30%, late-sweep, fog ...; repeat.  [default: all]",
)
@click.option(
    "--score",
    type=click.Choice(["hidden", "all"]),
    default=None,
    help="Score on measured pixels that were hidden, or on all.  [default: as the data set's published tables; else hidden]",
)
@click.option(
    "--maps",
    type=_PATH,
    default=None,
    help="--board: folder of other networks' relative maps, NAME.npy for each frame.",
)
@click.option(
    "--space", default="disparity", show_default=True, help="--board: what the values of --maps are affine in."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="--board: ray shares the frames out over a cluster.",
)
@click.option("--ray-address", default=None, help="Of a running Ray cluster.  [default: start one here]")
@click.option(
    "--workers", type=click.IntRange(1), default=None, help="Ray workers.  [default: one per GPU, or per two CPU cores]"
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@click.option("--quiet", is_flag=True, help="No progress.")
def completion_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, dataset: str, root: Path, split: Path | None,
    limit: int | None, patterns: tuple[str, ...], outliers: float, seed: int, ensemble: int, size: int | None,
    out: Path | None, board: bool, faults: tuple[str, ...], score: str | None, maps: Path | None, space: str, markdown: bool,
    quiet: bool, engine: str, ray_address: str | None, workers: int | None,
) -> None:  # fmt: skip
    """Keep some of the measured points, complete, score on the hidden ones or on all.

    Compares `leadline.complete` with nearest neighbour, linear interpolation, morphological filling, and scale and shift
    alone. Each model predicts once per image; times are of the completion only.
    """
    from leadline.completion import complete, complete_with
    from leadline.evaluation.completion import DEFAULT_PATTERNS, completion_tables, evaluate_completion
    from leadline.evaluation.datasets import open_dataset

    data = open_dataset(dataset, root, split, limit)
    options = {"ensemble": ensemble, "size": size, "seed": seed}
    if board:
        names = _names(models, baselines=False) if models or not maps else []
        sources = _BoardSources(tuple(names), device, precision, vae, options, maps, space)
        shared = (engine == "ray", workers, ray_address)
        _board(
            data, sources, out or Path("eval") / f"board-{dataset}", patterns, faults, score, quiet, markdown, shared
        )
        return
    if engine == "ray":
        raise InputError("--engine ray is for --board")
    if faults or maps:
        raise InputError("--fault and --maps are for --board")
    patterns = patterns or DEFAULT_PATTERNS
    loaded = [_load(name, device, precision, vae) for name in _names(models, baselines=False)]
    out = out or Path("eval") / f"completion-{dataset}"
    with _progress(len(data) * len(patterns) * (3 + 2 * len(loaded)), quiet) as advance:
        done = 0

        def step(result: Any) -> None:
            nonlocal done
            done += 1
            advance("completion", done, 0, result)

        summary = evaluate_completion(
            loaded, complete, data, out, patterns, options, seed, outliers, step, complete_with, score
        )
    for title, table in completion_tables(summary).items():
        click.echo(f"\n**{title}**\n\n{table.markdown()}" if markdown else f"\n{title}\n{table.text()}")
    click.echo(
        "\n* milliseconds of the completion itself on this machine, without the network (with it for models that see the points)"
    )
    for one in summary["skipped"]:
        click.echo(f"left out: {one['name']}: {one['message']}", err=True)
    click.echo(f"numbers: {out / 'completion.json'}", err=True)


@dataclass(frozen=True)
class _BoardSources:
    """What the board's maps come from; every worker of a cluster makes them anew."""

    names: tuple[str, ...]
    device: str
    precision: str
    vae: str | None
    options: dict[str, Any]
    maps: Path | None
    space: str

    def __call__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Name → maps, and what decides them, for the board's settings."""
        from leadline.evaluation import board

        loaded = [_load(name, self.device, self.precision, self.vae) for name in self.names]
        made = {one.name: board.of_model(one, self.options) for one in loaded}
        about = {**self.options, "models": {one.name: getattr(one, "weights_hash", "") for one in loaded}}
        if self.maps is not None:
            made[self.maps.name] = board.of_maps(self.maps, self.space)
            about |= {"maps": str(self.maps), "space": self.space}
        return made, about

    def methods(self) -> dict[str, Any]:
        """Rows of the board."""
        from leadline.completion import complete
        from leadline.evaluation import board

        return board.methods_of(self()[0], complete)


def _board(
    data: Any,
    sources: _BoardSources,
    out: Path,
    patterns: tuple[str, ...],
    faults: tuple[str, ...],
    score: str | None,
    quiet: bool,
    as_markdown: bool,
    shared: tuple[bool, int | None, str | None],
) -> None:
    from leadline.completion import complete
    from leadline.evaluation import board
    from leadline.evaluation.board_table import board_table
    from leadline.evaluation.completion import Result

    made, about = sources()
    engine = None
    if shared[0]:
        from leadline.evaluation.ray_engine import ray_board

        engine = ray_board(sources.methods, *shared[1:])
    wanted_faults = faults or board.FAULTS
    faulted = patterns or board.FAULTED
    cells = board.cells(patterns or board.PATTERNS, wanted_faults, faulted)
    with _progress(len(data) * len(cells) * (3 + 2 * len(made)), quiet) as advance:
        count = 0

        def step(row: Any) -> None:
            nonlocal count
            count += 1
            advance(
                "board", count, 0, Result(row["name"], row["pattern"], row["method"], message=row.get("message", ""))
            )

        rows = board.run_board(
            made, complete, data, out, patterns=patterns or board.PATTERNS, faults=wanted_faults, faulted=faulted,
            score=score, seed=sources.options["seed"], about=about, on_row=step, engine=engine,
        )  # fmt: skip
    for name in made:
        table = board_table(board.means(rows), f"{name}: completion")
        click.echo(f"\n{name}: completion\n{table.markdown() if as_markdown else table.text()}")
    click.echo(f"page: {out / 'board.html'}\ntable: {out / 'board.md'}\nnumbers: {out / 'board.csv'}", err=True)


@command.command("flicker")
@click.argument("frames", type=_PATH)
@_model_options
@_sampling_options
@click.option("--seed", default=0, show_default=True, help="Start noise, the same for every frame.")
@click.option("--limit", type=click.IntRange(2), default=None, help="Use only the first so many frames.")
@click.option(
    "--still", is_flag=True, help="Camera and scene do not move: compare pixel by pixel, without optical flow."
)
def flicker_command(
    frames: Path, models: tuple[str, ...], vae: str | None, device: str, precision: str, steps: int | None,
    ensemble: int | None, size: int | None, seed: int, limit: int | None, still: bool,
) -> None:  # fmt: skip
    """Temporal flicker over a folder of FRAMES in the order of their names.

    The mean change of the map along the optical flow of the pictures, in percent of the map's range (2nd to 98th percentile
    over the sequence).
    """
    from leadline.evaluation.video import flicker
    from leadline.files.image import IMAGE_SUFFIXES, read_image

    if not frames.is_dir():
        raise InputError(f"{frames} is not a folder of frames")
    paths = sorted(p for p in frames.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)[:limit]
    images = [read_image(path) for path in paths]
    for name in _names(models, baselines=False):
        model = _load(name, device, precision, vae)
        options = {"steps": steps, "ensemble": ensemble or 1, "size": size, "seed": seed}
        maps = [model.predict(image, **options).values for image in images]
        result = flicker(maps, None if still else images)
        change = "–" if result.mean is None else f"{100 * result.mean:.2f} %"
        click.echo(
            f"{model.name}: {change} per frame over {len(maps)} frames ({100 * result.followed:.0f} % of the pixels followed)"
        )


@command.command("video")
@_model_options
@_sampling_options
@click.option("--detail", type=click.Choice(["off", "edges", "tiles"]), default="off", show_default=True)
@click.option("--seed", default=9001, show_default=True, help="Of the rendered films.")
@click.option("--frames", type=click.IntRange(4), default=16, show_default=True, help="Of each film.")
@click.option("--width", type=click.IntRange(64), default=320, show_default=True, help="Of the films, pixels; 4:3.")
def video_command(
    models: tuple[str, ...], vae: str | None, device: str, precision: str, steps: int | None, ensemble: int | None,
    size: int | None, detail: str, seed: int, frames: int, width: int,
) -> None:  # fmt: skip
    """Depth over time on rendered films with true depth, pose and flow.

    Each film is measured four times: frame by frame, on one scale and shift, steadied as `leadline predict` does it, and steadied
    with a look ahead of four frames.

    \b
    AbsRel    of single frames, each aligned to its truth
    TE        change of depth along the true flow that is not the true change, the film aligned once
    TE pose   the same through the true poses, over what stands still
    OPW       change along the true flow, weighted by how alike the pictures look, in shares of the map's range
    flicker   change along estimated flow; needs no truth
    lag       frames until the step of an object came through
    """
    from leadline.evaluation.films import score_films

    for name in _names(models, baselines=False):
        model = _load(name, device, precision, vae)
        options = {"steps": steps, "ensemble": ensemble or 1, "size": size, "detail": detail}
        click.echo(
            f"{model.name}\n  {'film':<10}{'way':<17}{'AbsRel':>8}{'TE':>8}{'TE pose':>9}{'OPW':>8}{'flicker':>9}{'lag':>5}"
        )
        films = score_films(partial(model.predict, **options), seed, frames, width * 3 // 4, width)
        for one in films:
            numbers = f"{one.absrel:8.4f}{one.temporal:8.4f}{one.pose:9.4f}{one.opw:8.4f}{one.flicker:9.4f}"
            click.echo(f"  {one.film:<10}{one.way:<17}{numbers}{'–' if one.lag is None else one.lag:>5}")


def _names(models: tuple[str, ...], baselines: bool) -> list[str]:
    names = list(models) or _mini_models()
    if not names:
        raise InputError("no mini weights are installed; name a model with --model")
    return [*(BASELINES if baselines else ()), *names]


def _mini_models() -> list[str]:
    """Names of the weights that ship inside the package."""
    from leadline import checkpoints

    folder = Path(checkpoints.__file__).parent / "mini"
    return sorted(p.stem for p in folder.glob("*-mini.safetensors"))


def _load(
    name: str, device: str, precision: str, vae: str | None, decoder: str = "full", speed: Any = "full"
) -> Predictor:
    from leadline.evaluation.baselines import Baseline

    if name in BASELINES:
        return Baseline(name)
    from leadline.inference.estimator import load

    return load(name, device, precision, vae, decoder=decoder, speed=speed)


def _label(name: str, model: Predictor, taken: list[str]) -> str:
    """What a model is called in the table and on disk: its name, or its file's when two have one name."""
    label = model.name if model.name not in taken else Path(name).stem
    while label in taken:
        label += "'"
    return label.replace("/", "-")


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[str, int, int, Any], None]]:
    """A bar on standard error, with the image at work and what went wrong with others."""
    from leadline.cli.bar import progress_bar

    with progress_bar(quiet=quiet) as bar:
        task = bar.add_task("reading", total=total)
        finished: dict[str, int] = {}

        def advance(label: str, done: int, images: int, row: Any) -> None:
            finished[label] = done
            bar.update(task, completed=sum(finished.values()), description=label)
            if row.message and not quiet:
                click.echo(f"{label}: {row.name}: {row.status}: {row.message}", err=True)

        yield advance
