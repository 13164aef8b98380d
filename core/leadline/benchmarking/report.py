"""What was measured, as JSON, as a Markdown table and as a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from leadline.benchmarking.measure import Clock, Measurement, ceiling_gflops
from leadline.inference.devices import choose_devices, choose_precision, precision_name


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        processor: The processor's or GPU's name.
        threads: CPU threads used.
        ceiling_gflops: Best of a large matrix product and a large convolution, measured in the same run.
    """

    processor: str
    threads: int
    device: str
    precision: str
    clock: Clock
    torch: str
    ceiling_gflops: float


def this_machine(device: str, precision: str, clock: Clock) -> Machine:
    """The machine as it is now; measures its ceiling."""
    where = choose_devices(device)[0]
    return Machine(
        processor=torch.cuda.get_device_name(where) if where.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        device=str(where),
        precision=precision_name(choose_precision(precision, where)),
        clock=clock,
        torch=torch.__version__,
        ceiling_gflops=ceiling_gflops(device, precision),
    )


def as_record(machine: Machine, rows: Sequence[Measurement]) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "machine": asdict(machine),
        "rows": [
            {**asdict(row), "ratio": row.ratio, "share_of_ceiling": row.share_of(machine.ceiling_gflops)} for row in rows
        ],
    }  # fmt: skip


def as_markdown(machine: Machine, rows: Sequence[Measurement]) -> str:
    """A heading line about the machine and a table."""
    clock = "processor seconds" if machine.clock == "cpu" else "seconds"
    lines = [
        f"{machine.processor}, {machine.device}, {machine.precision}, {machine.threads} thread(s), PyTorch "
        f"{machine.torch}; {clock}; measured ceiling {machine.ceiling_gflops:.0f} GFLOP/s.",
        "",
        "| model | size | steps | members | official schedule, s | Leadline, s | faster by | max difference | "
        "peak MB, official → Leadline | share of ceiling |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        case = row.case
        memory = f"{row.reference_mb:.0f} → {row.ours_mb:.0f}" if row.reference_mb and row.ours_mb else "–"
        lines.append(
            f"| {case.model} | {case.size}² | {case.steps} | {case.ensemble} | {row.reference_s:.3g} | {row.ours_s:.3g} "
            f"| **{row.ratio:.2f}×** | {row.difference:.0e} | {memory} | {row.share_of(machine.ceiling_gflops):.0%} |"
        )
    return "\n".join(lines) + "\n"


def plot(path: Path, machine: Machine, rows: Sequence[Measurement]) -> None:
    """Bars of the ratios, one for each row."""
    from matplotlib import colormaps  # noqa: PLC0415  (takes a second, and only plots need it)
    from matplotlib.figure import Figure  # noqa: PLC0415

    models = list(dict.fromkeys(row.case.model for row in rows))
    colours = {model: colormaps["tab10"](index) for index, model in enumerate(models)}
    figure = Figure(figsize=(7.5, 1.2 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = [f"{r.case.model}  {r.case.size}²  {r.case.steps} step × {r.case.ensemble}" for r in rows]
    places = range(len(rows))
    bars = axes.barh(places, [row.ratio for row in rows], color=[colours[row.case.model] for row in rows])
    axes.bar_label(bars, [f"{row.ratio:.2f}×   {row.ours_s:.3g} s" for row in rows], padding=4, fontsize=8)
    axes.axvline(1.0, color="0.4", linewidth=1)
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(row.ratio for row in rows))
    axes.set_xlabel("times faster than the official schedule, at equal output")
    axes.set_title(f"{machine.processor}, {machine.threads} thread(s), {machine.precision}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return f"{names[0]} ({os.cpu_count()} cores)"
    return platform.processor() or platform.machine()
