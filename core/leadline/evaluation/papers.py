"""Figures from the papers, as data, each with the table it stands in. Nothing here was measured by this project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leadline.evaluation.boundaries import Holes


@dataclass(frozen=True)
class Published:
    """One method on one data set in one paper.

    Attributes:
        method: As the paper calls it.
        dataset: Key of :data:`leadline.evaluation.datasets.READERS`.
        scores: Metric name → value in our unit (shares, not percent).
        source: Paper and table.
        note: What to know before comparing.
        protocols: Those of ours whose fit the paper used; empty where nothing is fitted.
        images: How many the mean is over, where that is known.
        holes: How boundary F1 treats pixels without ground truth.
        pattern: Which points a completion started from, as ``leadline eval completion --pattern`` calls them.
        unstated: What the paper leaves open, so that no number of ours is made by the same rule for certain.
    """

    method: str
    dataset: str
    scores: dict[str, float]
    source: str
    note: str = ""
    protocols: tuple[str, ...] = ()
    images: int | None = None
    holes: Holes | None = None
    pattern: str = ""
    unstated: tuple[str, ...] = ()


DEPTHFM = "DepthFM (Gui et al., arXiv 2403.13788)"
FIFFDEPTH = "FiffDepth (Bai & Huang, arXiv 2412.00671)"
DEPTHMASTER = "DepthMaster (Song et al., arXiv 2501.02576)"

FIVE = ("nyu", "kitti", "eth3d", "scannet", "diode")
#: Images of the five sets in Marigold's lists, which the three papers use (DepthMaster states the numbers).
IMAGES = {"nyu": 654, "kitti": 652, "eth3d": 454, "scannet": 800, "diode": 771}

#: Our protocol for a row of DepthFM's Table 2: its own maps are fitted in log depth, the generative ones in depth; the others
#: came from papers that fit disparity where the model gives it.
_FITS = {"DepthFM-I": "depthfm", "DepthFM-ID": "depthfm", "Marigold": "marigold", "GeoWizard": "marigold"}
_FIT_UNSTATED = ("the paper does not say in which space this method was fitted",)
_FRAMES_UNSTATED = ("the paper does not say which of the set's frames and renderings it takes",)

# AbsRel and δ1 (%) on the five sets; "-" is not given.
_DEPTHFM_TABLE_2 = """
MiDaS                .111 88.5  .236 63.0  .184 75.2  .121 84.6  .332 71.5
Omnidata             .074 94.5  .149 83.5  .166 77.8  .075 93.6  .339 74.2
HDN                  .069 94.8  .115 86.7  .121 83.3  .080 93.9  .246 78.0
DPT                  .098 90.3  .100 90.1  .078 94.6  .082 93.4  .182 75.8
Depth-Anything       .043 98.1  .076 94.7  .127 88.2  -    -     .066 95.2
Depth-Anything-v2    .044 97.9  .075 94.8  .132 86.2  -    -     .065 95.4
Metric3D-v2          .043 98.1  .044 98.2  .042 98.3  .022 99.4  .136 89.5
Marigold             .055 96.4  .099 91.6  .065 96.0  .064 95.1  .308 77.3
GeoWizard            .052 96.6  .097 92.1  .064 96.1  .061 95.3  .297 79.2
DepthFM-I            .060 95.5  .091 90.2  .065 95.4  .066 94.9  .224 78.5
DepthFM-ID           .055 96.3  .089 91.3  .058 96.2  .063 95.4  .212 80.0
"""

# AbsRel (%) and δ1 (%) on the five sets, then DA-2K accuracy (%).
_FIFFDEPTH_TABLE_1 = """
DiverseDepth         11.7 87.5  19.0 70.4  22.8 69.4  10.9 88.2  37.6 63.1  79.3
MiDaS                11.1 88.5  23.6 63.0  18.4 75.2  12.1 84.6  33.2 71.5  80.6
LeReS                 9.0 91.6  14.9 78.4  17.1 77.7   9.1 91.7  27.1 76.6  81.1
Omnidata-v2           7.4 94.5  14.9 83.5  16.6 77.8   7.5 93.6  33.9 74.2  76.8
HDN                   6.9 94.8  11.5 86.7  12.1 83.3   8.0 93.9  24.6 78.0  85.7
DPT                   9.8 90.3  10.0 90.1   7.8 94.6   8.2 93.4  18.2 75.8  83.2
Marigold              5.5 96.4   9.9 91.6   6.4 96.0   6.4 95.1  30.8 77.3  86.8
DepthFM               6.5 95.6   8.3 93.4   7.8 95.9   6.8 94.9  24.5 74.1  85.8
GeoWizard             5.2 96.6   9.7 92.1   6.4 96.1   6.1 95.3  29.7 79.2  88.1
DepthAnything-v1-L    4.3 98.1   7.6 94.7  12.7 88.2   4.2 98.0  27.7 75.9  88.5
DepthAnything-v2-L    4.5 97.9   7.4 94.6  13.1 86.5   4.2 97.8  26.2 75.4  97.1
FiffDepth             4.4 97.8   7.3 93.5   7.1 97.2   4.2 97.9  23.9 78.1  97.1
"""

# Boundary F1 on Sintel, Spring, iBims-1; boundary recall on AM-2k, P3M-10k, DIS-5K.
_FIFFDEPTH_TABLE_2 = """
Marigold             .068 .032 .149 .064 .101 .049
GeoWizard            .087 .038 .137 .070 .104 .052
DepthFM              .064 .030 .145 .058 .97  .039
DepthAnything-v1     .261 .045 .127 .058 .094 .023
DepthAnything-v2     .228 .056 .111 .107 .131 .056
Depth-Pro            .409 .079 .176 .173 .168 .077
FiffDepth            .423 .086 .189 .176 .179 .091
"""

# Seconds for a picture of 512×512 on a Titan RTX, mean of 100.
FIFFDEPTH_SECONDS = {
    "Marigold": 103.0, "Marigold (LCM)": 1.7, "GeoWizard": 19.0, "DepthFM": 0.39, "DepthAnything v2-L": 0.04,
    "Depth Pro": 0.23, "FiffDepth": 0.09,
}  # fmt: skip


def _lines(table: str) -> Iterator[tuple[str, list[float | None]]]:
    for line in table.strip().splitlines():
        method, *cells = line.split()
        yield (
            method.replace("-", " ", 1) if method.startswith("Depth-") else method,
            [None if cell == "-" else float(cell) for cell in cells],
        )


def _two_columns(table: str, source: str, abs_rel_unit: float) -> Iterator[Published]:
    for method, cells in _lines(table):
        for number, dataset in enumerate(FIVE):
            abs_rel, delta1 = cells[2 * number], cells[2 * number + 1]
            if abs_rel is not None and delta1 is not None:
                fit = _FITS.get(method, "fiffdepth" if method == "FiffDepth" else None)
                yield Published(
                    method,
                    dataset,
                    {"abs_rel": abs_rel * abs_rel_unit, "delta1": delta1 / 100},
                    source,
                    protocols=() if fit is None else ("marigold", "fiffdepth") if fit == "fiffdepth" else (fit,),
                    images=IMAGES[dataset],
                    unstated=_FIT_UNSTATED if fit is None else (),
                )


def _published() -> Iterator[Published]:
    for row in _two_columns(_DEPTHFM_TABLE_2, f"{DEPTHFM}, Table 2", 1.0):
        # These two rows have four pairs for five sets, and the text does not say whose the last pair is.
        if not (row.dataset == "diode" and row.method.startswith("Depth Anything")):
            yield row
    yield from _two_columns(_FIFFDEPTH_TABLE_1, f"{FIFFDEPTH}, Table 1", 0.01)
    for method, cells in _lines(_FIFFDEPTH_TABLE_1):
        yield Published(method, "da2k", {"pair_accuracy": (cells[-1] or 0.0) / 100}, f"{FIFFDEPTH}, Table 1")
    for method, cells in _lines(_FIFFDEPTH_TABLE_2):
        f1_scores, recalls = cells[:3], cells[3:]
        for dataset, value in zip(("sintel", "spring", "ibims"), f1_scores, strict=True):
            protocols = ("fiffdepth",) if method == "FiffDepth" else ()
            unstated = (() if protocols else _FIT_UNSTATED) + (() if dataset == "ibims" else _FRAMES_UNSTATED)
            yield Published(
                method, dataset, {"boundary_f1": value or 0.0}, f"{FIFFDEPTH}, Table 2",
                protocols=protocols, holes=Holes.UNMASKED, unstated=unstated,
            )  # fmt: skip
        for dataset, value in zip(("am2k", "p3m10k", "dis5k"), recalls, strict=True):
            note = "printed so; the column's other values suggest 0.097" if value == 0.97 else ""
            yield Published(
                method, dataset, {"boundary_recall": value or 0.0}, f"{FIFFDEPTH}, Table 2", note,
                unstated=("the paper does not say how a relative map became depth where there is none to fit to",),
            )  # fmt: skip
    for method, precision, recall in (
        ("Depth Anything", 0.2932, 0.2980),
        ("Depth Anything v2", 0.3167, 0.4025),
        ("DepthFM", 0.3354, 0.4931),
    ):
        scores = {"edge_precision": precision, "edge_recall": recall}
        unstated = ("the paper states neither edge threshold nor resolution",)
        yield Published(method, "middlebury", scores, f"{DEPTHFM}, Table 4", unstated=unstated)
    yield Published(
        "DepthFM", "middlebury", {"error_ratio": 3.21}, f"{DEPTHFM}, text",
        unstated=("the paper does not state above which threshold uncertainty is high",),
    )  # fmt: skip
    yield Published(
        "DepthMaster",
        "kitti",
        {"abs_rel": 0.082},
        f"{DEPTHMASTER}, Table I",
        "from the text, '17.2 % better than Marigold', which has 0.099; the table itself is a picture in the paper's page",
        ("depthmaster",),
        IMAGES["kitti"],
    )
    for method, rmse, pattern in (
        ("NLSPN", 0.092, "500"),
        ("DSN", 0.102, ""),
        ("Struct-MDC", 0.245, ""),
        ("CompletionFormer", 0.090, "500"),
        ("DepthFM", 0.077, "2%"),
    ):
        unstated = () if pattern else ("the paper does not say how many points this method started from",)
        yield Published(
            method, "nyu-completion", {"rmse": rmse}, f"{DEPTHFM}, Table 5",
            images=IMAGES["nyu"], pattern=pattern, unstated=unstated,
        )  # fmt: skip


PUBLISHED: tuple[Published, ...] = tuple(_published())

#: DepthFM, Table 3: δ1 on NYUv2 by Euler steps, ensemble 10. Table 9: by noise level (thousandths).
NFE_DELTA1 = {
    "Marigold": {1: 0.488, 2: 0.715, 4: 0.827, 10: 0.948},
    "DepthFM": {1: 0.950, 2: 0.956, 4: 0.963, 10: 0.962},
}
NOISE_DELTA1 = {100: 0.937, 200: 0.944, 400: 0.955, 600: 0.955, 800: 0.954}


def published_on(dataset: str, source: str | None = None) -> list[Published]:
    """The papers' rows for a data set; with ``source`` only those of one table."""
    return [row for row in PUBLISHED if row.dataset == dataset and source in (None, row.source)]
