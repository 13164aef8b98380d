"""`leadline bench`: speed and memory beside the official schedule, at equal output."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from leadline.cli.options import DEFAULT_MODEL, backend_option, compile_option, decoder_option, out_option, speed_option
from leadline.errors import InputError

#: Without options: every mini model, and one case of the published size.
MINI_MODELS = ("depthfm-mini", "depthmaster-mini", "fiffdepth-mini")
DEFAULT_OFFICIAL = DEFAULT_MODEL.replace("mini", "official")
#: The official schedule and ours must agree to this in float32.
EQUAL = 1e-4


@click.command()
@click.option(
    "-m", "--model", "models", multiple=True,
    help="A model's name, or depthfm-official, depthmaster-official, fiffdepth-official: the published sizes with random "
    f"weights.  [default: the mini models, and {DEFAULT_OFFICIAL} at the smallest size]",
)  # fmt: skip
@click.option("--size", "sizes", type=int, multiple=True, default=[256], show_default=True, help="Side in pixels.")
@click.option(
    "--steps", type=int, multiple=True, default=[1, 4], show_default=True, help="Network evaluations (DepthFM)."
)
@click.option("--ensemble", type=int, multiple=True, default=[1, 4], show_default=True, help="Members (DepthFM).")
@click.option("--repeat", default=3, show_default=True, help="Runs of each side; the best counts.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads.  [default: PyTorch's choice]")
@click.option(
    "--clock", type=click.Choice(["wall", "cpu"]), default="wall", show_default=True,
    help="cpu: processor seconds; with --threads 1 on a machine that others use, too.",
)  # fmt: skip
@compile_option
@click.option("--memory/--no-memory", default=True, help="Measure peak memory, in a process for each side.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="diffusers|FILE",
    help="diffusers: beside its Marigold pipeline, on the CPU, full-size random weights, the same noise; the table is printed. "
    "A bench.json: fail if a case became slower by more than 10 %.",
)
@click.option("--stream", is_flag=True, help="Measure what a camera sees instead: latency, jitter, dropped frames.")
@click.option(
    "--rate", default=20.0, show_default=True, type=click.FloatRange(0.1), help="--stream: of the camera, Hz."
)
@click.option("--seconds", default=20.0, show_default=True, type=click.FloatRange(0.1), help="--stream: how long.")
@click.option("--camera", default="640x480", show_default=True, help="--stream: WIDTHxHEIGHT of its pictures.")
@click.option(
    "--through", type=click.Choice(["estimator", "server"]), default="estimator", show_default=True,
    help="--stream: in this process, or through a local server.",
)  # fmt: skip
@decoder_option
@speed_option
@backend_option
@out_option(default="out/bench", help="Folder for bench.json, bench.md and bench.png, or stream.json.")
def command(
    models: tuple[str, ...], sizes: tuple[int, ...], steps: tuple[int, ...], ensemble: tuple[int, ...], repeat: int,
    device: str, precision: str, threads: int | None, clock: str, compiled: str, memory: bool, against: Path | None, stream: bool,
    rate: float, seconds: float, camera: str, through: str, decoder: str, speed: str, backend: str,
    out: Path,
) -> None:  # fmt: skip
    """Compare with the official schedule: seconds, memory, difference of the maps, share of what the machine can do.

    Both sides take the same weights and, for DepthFM, the same noise; DepthMaster and FiffDepth have one step and one
    member. With --stream the model takes a camera's frames, always the newest, at --size and with one member.
    """
    from dataclasses import replace

    if str(against) == "diffusers":
        _against_diffusers(sizes, steps, ensemble, repeat, clock == "cpu", precision, threads, memory)
        return
    if stream:
        options = {
            "device": device,
            "precision": precision,
            "decoder": decoder,
            "compiled": compiled,
            "speed": speed,
            "backend": backend,
        }
        _stream(models or (DEFAULT_MODEL,), sizes[0], threads, options, rate, seconds, camera, through, out)
        return
    if find_spec("matplotlib") is None:
        raise InputError("the plot needs matplotlib; pip install 'leadline[bench]'")
    import torch

    from leadline.benchmarking.guard import compared, read_ratios, slower
    from leadline.benchmarking.measure import OFFICIAL_MODELS, Case, measure_in_child, peak_memory_mb
    from leadline.benchmarking.report import as_markdown, as_record, plot, this_machine
    from leadline.checkpoints.resolve import resolve
    from leadline.files.output import write_json

    stored = None if against is None else read_ratios(against)  # complain before measuring
    if threads is not None:
        torch.set_num_threads(threads)

    def cases_of(model: str) -> list[Case]:
        family = model.removesuffix("-official") if model in OFFICIAL_MODELS else resolve(model).spec.family
        grid = [(s, e) for s in steps for e in ensemble] if family == "depthfm" else [(1, 1)]
        return [
            Case(model, size, s, e, device, precision, threads, repeat, clock, compiled)  # type: ignore[arg-type]
            for size in sizes
            for s, e in grid
        ]

    cases = [case for model in models or MINI_MODELS for case in cases_of(model)]
    if not models:
        cases.append(replace(cases_of(DEFAULT_OFFICIAL)[0], repeat=1))
    machine = this_machine(device, precision, clock)  # type: ignore[arg-type]
    rows = []
    for case in cases:
        click.echo(f"{case.model} at {case.size}², {case.steps} step(s), {case.ensemble} member(s) …", err=True)
        row = measure_in_child(case)
        if memory:
            row = replace(row, reference_mb=peak_memory_mb(case, "reference"), ours_mb=peak_memory_mb(case, "ours"))
        click.echo(f"  {row.ours_s:.3g} s, {row.ratio:.2f}× the official schedule's speed", err=True)
        rows.append(row)  # written at once: a later case may not fit into this machine
        table = as_markdown(machine, rows)
        write_json(out / "bench.json", as_record(machine, rows))
        (out / "bench.md").write_text(table)
        plot(out / "bench.png", machine, rows)
    click.echo(table)
    different = [row for row in rows if machine.precision == "fp32" and row.difference > EQUAL]
    if different:
        raise click.ClickException(
            f"{different[0].case.model} differs by {different[0].difference:.0e}, more than {EQUAL:.0e}"
        )
    if stored is not None:
        record = as_record(machine, rows)["rows"]
        click.echo(f"{compared(stored, record)} of {len(record)} cases are in {against}", err=True)
        worse = slower(stored, record)
        if worse:
            raise click.ClickException("slower than before: " + "; ".join(worse))


def _stream(
    models: tuple[str, ...], size: int, threads: int | None, options: dict[str, str], rate: float, seconds: float, camera: str,
    through: str, out: Path,
) -> None:  # fmt: skip
    """One line for each model, and stream.json."""
    import os

    import numpy as np
    import torch

    from leadline.benchmarking.stream import run_stream
    from leadline.files.output import write_json
    from leadline.inference.estimator import load
    from leadline.serving.client.local import LocalServer

    try:
        width, height = (int(side) for side in camera.lower().split("x"))
    except ValueError:
        raise InputError(f"--camera '{camera}' is no size; write for example 640x480") from None
    if threads is not None:
        torch.set_num_threads(threads)
    frames = np.random.default_rng(0).integers(0, 255, (4, height, width, 3), dtype=np.uint8)
    served = [
        f"--{'compile' if name == 'compiled' else name}={options[name]}"
        for name in ("precision", "compiled", "speed", "backend", "decoder")
    ]
    rows = []
    for model in models:
        if through == "estimator":
            estimator = load(model, **options)  # type: ignore[arg-type]
            estimator.warm_up(height, width, ensemble=1, size=size)
            report = run_stream(lambda k: estimator.predict(frames[k % 4], ensemble=1, size=size), rate, seconds)  # noqa: B023
        else:
            with (
                LocalServer(models=[model], device=options["device"], arguments=served) as server,
                server.client() as client,
            ):
                client.predict(frames[0], ensemble=1, size=size)
                report = run_stream(
                    lambda k: client.predict(frames[k % 4], ensemble=1, size=size), rate, seconds, own_work=False
                )  # fmt: skip
        click.echo(f"{model}, {camera} at long edge {size}, {through}: {report.as_line()}")
        rows.append(
            {"model": model, "size": size, "camera": camera, "through": through, **options, **report.as_record()}
        )
        write_json(out / "stream.json", {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "rows": rows})


def _against_diffusers(
    sizes: tuple[int, ...], steps: tuple[int, ...], ensemble: tuple[int, ...], repeat: int, cpu_seconds: bool,
    precision: str, threads: int | None, memory: bool,
) -> None:  # fmt: skip
    import torch

    from leadline.benchmarking.against_diffusers import Task, compare, peak_memory_mb

    if threads is not None:
        torch.set_num_threads(threads)
    precision = "fp32" if precision == "auto" else precision
    click.echo(
        f"| size | steps | ensemble | diffusers s | Leadline s ({precision}) | times faster | difference of the range, mean / "
        "largest | diffusers peak | Leadline peak |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|")
    for task in (Task(size, s, e, precision, threads) for size in sizes for s in steps for e in ensemble):
        row = compare(task, repeat, cpu_seconds)
        apart = "-" if row.mean_difference is None else f"{row.mean_difference:.0e} / {row.largest_difference:.0e}"
        peaks = [
            f"{peak_memory_mb(task, side) * 2**20 / 1e9:.2f} GB" if memory else "-" for side in ("diffusers", "ours")
        ]
        click.echo(
            f"| {task.size}² | {task.steps} | {task.ensemble} | {row.diffusers_s:.2f} | {row.ours_s:.2f} | {row.ratio:.2f} | "
            f"{apart} | {' | '.join(peaks)} |"
        )
