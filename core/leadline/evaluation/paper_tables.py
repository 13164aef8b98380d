"""The tables of the three papers: what each takes, where its data come from, and ours beside them from the data at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leadline.errors import InputError
from leadline.evaluation.completion import Complete, completion_tables, evaluate_completion
from leadline.evaluation.datasets import READERS, open_dataset
from leadline.evaluation.papers import DEPTHFM, DEPTHMASTER, FIFFDEPTH, FIVE
from leadline.evaluation.protocols import get_protocol
from leadline.evaluation.runner import Entry, Predictor, Sampling, run
from leadline.evaluation.sweeps import Grid, sweep, sweep_table
from leadline.evaluation.tables import Table, summary_table

_MARIGOLD = (
    "Marigold's evaluation archives, see github.com/prs-eth/Marigold; its data_split folder beside them has the lists"
)


@dataclass(frozen=True)
class Place:
    """Where a data set is looked for below the root, and where it comes from.

    Attributes:
        paths: Folders or archives, relative to the root; the first there is counts, then the data set's own name.
        lists: Lists of frames; the first there is counts. Without one every frame of the layout is used.
        origin: For whoever has not got it.
    """

    paths: tuple[str, ...]
    lists: tuple[str, ...]
    origin: str


PLACES: dict[str, Place] = {
    "nyu": Place(("nyuv2/nyu_labeled_extracted.tar",), ("data_split/nyu/labeled/filename_list_test.txt",), _MARIGOLD),
    "kitti": Place(
        ("kitti/kitti_eigen_split_test.tar",), ("data_split/kitti/eigen_test_files_with_gt.txt",), _MARIGOLD
    ),
    "eth3d": Place(("eth3d/eth3d.tar",), ("data_split/eth3d/eth3d_filename_list.txt",), _MARIGOLD),
    "scannet": Place(
        ("scannet/scannet_val_sampled_800_1.tar",),
        (
            "data_split/scannet_depth/scannet_val_sampled_list_800_1.txt",
            "data_split/scannet/scannet_val_sampled_list_800_1.txt",
        ),
        _MARIGOLD,
    ),
    "diode": Place(("diode/diode_val.tar",), ("data_split/diode/diode_val_all_filename_list.txt",), _MARIGOLD),
    "middlebury": Place((), (), "vision.middlebury.edu/stereo/data/scenes2014"),
    "sintel": Place((), (), "sintel.is.tue.mpg.de/depth, images and depth in one folder"),
    "spring": Place((), (), "spring-benchmark.org"),
    "ibims": Place(
        ("ibims1_core_raw",), ("ibims1_core_raw/imagelist.txt", "imagelist.txt"), "iBims-1 core raw, Koch et al. 2018"
    ),
    "da2k": Place(("DA-2K",), (), "huggingface.co/datasets/depth-anything/DA-2K"),
    "am2k": Place(("AM-2k",), (), "github.com/JizhiziLi/GFM"),
    "p3m10k": Place(("P3M-10k",), (), "github.com/JizhiziLi/P3M"),
    "dis5k": Place(("DIS5K", "DIS-5K"), (), "github.com/xuebinqin/DIS"),
    "nyu-completion": Place(("nyudepthv2",), (), "nyudepthv2.tar.gz, see github.com/fangchangma/sparse-to-dense"),
}


@dataclass(frozen=True)
class PaperTable:
    """One table of one paper.

    Attributes:
        source: As in :data:`leadline.evaluation.papers.PUBLISHED`.
        family: Whose models are run if none is named.
        datasets: Keys of :data:`PLACES`; empty for a table that data alone do not give.
        protocol: Of :data:`leadline.evaluation.protocols.PROTOCOLS`.
        metrics: Its columns.
        grid: Knobs that the table turns.
        patterns: Points that a completion starts from.
        lacking: What else it needs.
    """

    source: str
    family: str
    datasets: tuple[str, ...] = ()
    protocol: str = ""
    metrics: tuple[str, ...] = ("abs_rel", "delta1")
    grid: Grid | None = None
    patterns: tuple[str, ...] = ()
    lacking: str = ""


_ABLATIONS = "checkpoints trained with the parts left out; train them with `leadline train`, then `leadline eval`"

TABLES: tuple[PaperTable, ...] = (
    PaperTable(f"{DEPTHFM}, Table 1", "depthfm", lacking="the training pairs and their noise; it measures no map"),
    PaperTable(f"{DEPTHFM}, Table 2", "depthfm", FIVE, "depthfm"),
    PaperTable(f"{DEPTHFM}, Table 3", "depthfm", ("nyu",), "depthfm", grid=Grid(steps=(1, 2, 4, 10), ensemble=(10,))),
    PaperTable(f"{DEPTHFM}, Table 4", "depthfm", ("middlebury",), "depthfm", ("edge_precision", "edge_recall")),
    PaperTable(f"{DEPTHFM}, text", "depthfm", ("middlebury",), "depthfm", ("error_ratio",)),
    PaperTable(f"{DEPTHFM}, Table 5", "depthfm", ("nyu-completion",), patterns=("2%", "500")),
    *(PaperTable(f"{DEPTHFM}, Table {n}", "depthfm", lacking=_ABLATIONS) for n in (6, 7, 8)),
    PaperTable(f"{DEPTHFM}, Table 9", "depthfm", ("nyu",), "depthfm", grid=Grid(noise=(100, 200, 400, 600, 800))),
    *(PaperTable(f"{DEPTHFM}, Table {n}", "depthfm", lacking=_ABLATIONS) for n in (10, 11)),
    PaperTable(f"{DEPTHMASTER}, Table I", "depthmaster", FIVE, "depthmaster", ("abs_rel", "delta1", "boundary_f1")),
    *(PaperTable(f"{DEPTHMASTER}, Table {n}", "depthmaster", lacking=_ABLATIONS) for n in ("II", "III", "IV", "V", "VI")),
    PaperTable(f"{FIFFDEPTH}, Table 1", "fiffdepth", (*FIVE, "da2k"), "fiffdepth", ("abs_rel", "delta1", "pair_accuracy")),
    PaperTable(
        f"{FIFFDEPTH}, Table 2", "fiffdepth", ("sintel", "spring", "ibims", "am2k", "p3m10k", "dis5k"), "fiffdepth",
        ("boundary_f1", "boundary_recall"),
    ),
    PaperTable(f"{FIFFDEPTH}, Table 3", "fiffdepth", lacking="a Titan RTX; `leadline bench` measures on the device at hand"),
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One table on one data set: the numbers, or ``missing``: what it takes and where that comes from."""

    source: str
    title: str
    tables: tuple[tuple[str, Table], ...] = ()
    missing: str = ""


#: Gives a model for a name and DepthFM's noise level (``None``: the checkpoint's own).
MakeModel = Callable[[str, int | None], Predictor]
Progress = Callable[[str, int, int, Any], None]


def find(root: Path, dataset: str) -> tuple[Path, Path | None] | None:
    """The data and the list of frames of a data set below ``root``, or ``None``."""
    place = PLACES[dataset]
    names = (*place.paths, dataset, f"{dataset}.tar")
    data = next((root / name for name in names if (root / name).exists()), None)
    if data is None:
        return None
    listing = next((root / name for name in place.lists if (root / name).is_file()), None)
    return data, listing


def run_papers(
    root: Path,
    names_for: Callable[[str], Sequence[str]],
    make_model: MakeModel,
    complete: Complete,
    sampling: Sampling,
    out: Path,
    *,
    papers: Sequence[str] = (),
    limit: int | None = None,
    fresh: bool = False,
    on_outcome: Progress | None = None,
) -> Iterator[Section]:
    """Ours beside every table that the data below ``root`` allow, in the papers' order.

    Args:
        root: Holds the data sets, each under one of its :data:`PLACES`.
        names_for: The models to run for a family.
        make_model: Loads one.
        complete: ``leadline.completion.complete``.
        sampling: What the protocol leaves open; what differs from it is marked.
        out: Results, a folder for each data set and protocol; goes on where it stopped.
        papers: Families whose papers to run; empty is all three.
        limit: Only so many frames of each set (marked).
        fresh: Forget earlier results.
        on_outcome: Progress.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the one that holds the data sets")
    for table in TABLES:
        if papers and table.family not in papers:
            continue
        if not table.datasets:
            yield Section(table.source, table.source, missing=f"needs {table.lacking}")
        for dataset in table.datasets:
            title, found = f"{table.source}: {READERS[dataset].title}", find(root, dataset)
            names = names_for(table.family)
            if found is None:
                place = PLACES[dataset]
                wanted = " or ".join((*place.paths, f"{dataset}/"))
                yield Section(table.source, title, missing=f"no {wanted} below {root}; from {place.origin}")
            elif not names:
                yield Section(table.source, title, missing=f"no model of {table.family}; name one with --model")
            else:
                try:
                    made = _run(
                        table, dataset, *found, names, make_model, complete, sampling, out, limit, fresh, on_outcome
                    )
                except InputError as error:
                    yield Section(table.source, title, missing=str(error))
                else:
                    yield Section(table.source, title, tuple(made))


def _run(
    table: PaperTable, dataset: str, data: Path, listing: Path | None, names: Sequence[str], make_model: MakeModel,
    complete: Complete, sampling: Sampling, out: Path, limit: int | None, fresh: bool, on_outcome: Progress | None,
) -> list[tuple[str, Table]]:  # fmt: skip
    frames = open_dataset(dataset, data, listing, limit)
    if table.patterns:
        models = [make_model(name, None) for name in names]
        options = {"ensemble": sampling.ensemble or 1, "size": sampling.size, "seed": sampling.seed}
        summary = evaluate_completion(models, complete, frames, out / dataset, table.patterns, options, sampling.seed)
        return list(completion_tables(summary).items())
    protocol = get_protocol(table.protocol)
    if table.grid is not None:
        sweepable = [name for name in names if make_model(name, None).stochastic]
        if not sweepable:
            raise InputError(f"needs a model whose steps and noise can be chosen; {', '.join(names)} has one step")
        # The grid's own values go first; whatever else was asked for stays.
        chosen = replace(sampling, steps=None if table.grid.steps else sampling.steps)
        folder = out / f"{dataset}-{protocol.name}-sweep"
        report = sweep(sweepable, make_model, frames, protocol, chosen, table.grid, folder, fresh, on_outcome)
        return [("", sweep_table(report, table.source))]
    entries = [Entry(name.replace("/", "-"), make_model(name, None)) for name in names]
    summary = run(entries, frames, protocol, sampling, out / f"{dataset}-{protocol.name}", fresh, on_outcome)
    return [("", summary_table([summary], papers=True, source=table.source, metrics=table.metrics))]


def not_run(sections: Sequence[Section]) -> list[str]:
    """One line for everything that is lacking: what it takes, and the tables that wait for it."""
    waiting: dict[str, list[str]] = {}
    for section in sections:
        if section.missing:
            paper, table = section.source.split(" (")[0], section.source.rsplit(", ", 1)[1]
            waiting.setdefault(section.missing, []).append(f"{paper}, {table}")
    return [f"{'; '.join(tables)}: {what}" for what, tables in waiting.items()]


def page(sections: Sequence[Section]) -> str:
    """All sections as Markdown: the tables, then what is missing."""
    parts = ["# Ours beside the papers\n"]
    for section in sections:
        for title, table in section.tables:
            parts.append(f"## {section.title}\n\n{f'{title}{chr(10) * 2}' if title else ''}{table.markdown()}\n")
    if lines := not_run(sections):
        parts.append("## Not run\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts)
