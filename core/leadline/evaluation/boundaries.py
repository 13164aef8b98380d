"""Boundary sharpness: scale-invariant F1 and recall (Depth Pro), and Sobel edge precision and recall (Hu et al.)."""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import valid_pixels
from leadline.evaluation.blocks import row_blocks
from leadline.evaluation.metrics import Scores
from leadline.types import BoolMap, Floats

#: Depth Pro: ten ratios between 5 % and 25 %, each weighted by itself.
RATIO_THRESHOLDS = np.linspace(1.05, 1.25, 10)
#: Depth Pro: a matte above this alpha is foreground.
MATTE_THRESHOLD = 0.1
#: Hu et al. 2019, public code: the gradient magnitude (metres per 8-fold Sobel step) that counts as an edge.
SOBEL_THRESHOLD = 0.25

#: A pixel flies if it is farther than this share from both surfaces, within so many pixels of a true edge, which is a step of
#: at least the last share.
FLYING_SHARE, FLYING_PX, FLYING_STEP = 0.05, 3, 0.15

_MIN_DEPTH = 1e-6
Map64 = npt.NDArray[np.float64]
Neighbours = tuple[Map64, Map64, Map64, Map64]


class Holes(str, Enum):
    """What becomes of boundaries beside pixels without ground truth. Numbers by different rules are not comparable.

    On sparse or masked ground truth the rules differ by a factor of two; where every pixel is valid they agree.
    """

    #: A pair of neighbours counts only if both are valid (ours).
    LEFT_OUT = "pairs with a hole left out"
    #: A boundary counts if the farther of its two pixels is valid; a hole is nearer than anything (DepthMaster's code).
    MASKED = "farther pixel valid"
    #: Every pair counts; a hole is nearer than anything (Depth Pro's code).
    UNMASKED = "holes as they are"


def _neighbour_ratios(nearness: Map64) -> Neighbours:
    """How much nearer a pixel is than its left, upper, right and lower neighbour."""
    across = nearness[:, 1:] / nearness[:, :-1]
    down = nearness[1:] / nearness[:-1]
    return 1.0 / across, 1.0 / down, across, down


def _share(hits: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(hits & of)) / max(int(np.count_nonzero(of)), 1)


def _nearness(depth_m: Floats) -> Map64:
    return 1.0 / np.maximum(depth_m.astype(np.float64), _MIN_DEPTH)


def _levels(ratios: Map64, counted: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """How many of :data:`RATIO_THRESHOLDS` each ratio exceeds; 0 where it does not count."""
    return np.where(counted, np.searchsorted(RATIO_THRESHOLDS, ratios, side="left"), 0)


class _Counts:
    """Edges of the prediction, of the truth and of both: (4 directions, 10 thresholds) each."""

    def __init__(self) -> None:
        self.ours, self.true, self.both = (np.zeros((4, RATIO_THRESHOLDS.size), np.int64) for _ in range(3))

    def add(self, direction: int, ours: npt.NDArray[np.intp], true: npt.NDArray[np.intp]) -> None:
        for total, levels in ((self.ours, ours), (self.true, true), (self.both, np.minimum(ours, true))):
            exactly = np.bincount(levels, minlength=RATIO_THRESHOLDS.size + 1)
            total[direction] += exactly[::-1].cumsum()[::-1][1:]

    def f1(self) -> float:
        precision = (self.both / np.maximum(self.ours, 1)).mean(0)
        recall = (self.both / np.maximum(self.true, 1)).mean(0)
        total = precision + recall
        scores = np.divide(2.0 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        return float(np.average(scores, weights=RATIO_THRESHOLDS))


def boundary_f1(
    predicted_m: Floats, measured_m: Floats, valid: BoolMap | None = None, holes: Holes = Holes.LEFT_OUT
) -> Scores:
    """Scale-invariant boundary F1 of Depth Pro (arXiv 2410.02073, §3.3), in [0, 1].

    A boundary lies between two neighbours whose depths differ by more than a factor t. Precision and recall are means
    over the four directions, F1 is their harmonic mean, and the result is the mean over ten t weighted by t. With every
    pixel valid this is Depth Pro's number, whatever the rule for holes. As there, a direction without boundaries
    contributes 0 and an image without any boundary scores 0. ``None`` only if no pair of pixels counts.

    Args:
        predicted_m: (H, W) metres, or depth up to scale.
        measured_m: (H, W) metres; 0, NaN and infinity mean "not measured".
        valid: bool (H, W).
        holes: What pairs count where not every pixel is valid.
    """
    mask = valid_pixels(predicted_m, measured_m, valid)
    height, width = mask.shape
    counts, any_pair = _Counts(), False
    for rows in row_blocks(height, width):
        below = slice(rows.start, min(rows.stop + 1, height))
        ours = _nearness(predicted_m[below])
        true = _nearness(np.where(np.isfinite(measured_m[below]), measured_m[below], 0.0))
        good, here = mask[below], rows.stop - rows.start
        pairs = (
            ((slice(0, here), slice(0, -1)), (slice(0, here), slice(1, None)), (2, 0)),
            ((slice(0, -1), slice(None)), (slice(1, None), slice(None)), (3, 1)),
        )
        for first, second, (second_nearer, first_nearer) in pairs:
            counted = good[first] & good[second] if holes is Holes.LEFT_OUT else None
            any_pair = any_pair or (bool(counted.any()) if counted is not None else ours[first].size > 0)
            steps = [_steep(ours[first], ours[second]), _steep(true[first], true[second])]
            found = np.nonzero((steps[0] | steps[1]) if counted is None else (steps[0] | steps[1]) & counted)
            if not found[0].size:
                continue
            a, b, c, d = (m[part][found] for m in (ours, true) for part in (first, second))
            everywhere = np.ones(a.size, dtype=bool)
            for direction, far, high, low in (
                (second_nearer, first, (b, d), (a, c)),
                (first_nearer, second, (a, c), (b, d)),
            ):
                edges = good[far][found] if holes is Holes.MASKED else everywhere
                counts.add(direction, _levels(high[0] / low[0], edges), _levels(high[1] / low[1], edges))
    return {"boundary_f1": counts.f1() if any_pair else None}


def _steep(first: Map64, second: Map64) -> npt.NDArray[np.bool_]:
    """Where two neighbours may differ by more than the least threshold."""
    least = RATIO_THRESHOLDS[0] * (1.0 - 1e-9)
    return (second > least * first) | (first > least * second)


def thin_runs(ratio: npt.NDArray[np.float64], threshold: float) -> BoolMap:
    """Non-maximum suppression along rows: of each run of values above ``threshold``, only the (first) largest stays."""
    above = ratio > threshold
    starts = above & ~np.pad(above, ((0, 0), (1, 0)))[:, :-1]
    run = np.cumsum(starts)[above.ravel()]
    values = ratio[above]
    kept = np.zeros(values.size, dtype=bool)
    order = np.lexsort((np.arange(values.size), -values, run))
    kept[order[np.r_[True, np.diff(run[order]) > 0]] if values.size else order] = True
    thinned = np.zeros_like(above)
    thinned[above] = kept
    return thinned


def boundary_recall(predicted_m: Floats, matte: npt.NDArray[np.floating]) -> Scores:
    """Scale-invariant boundary recall of Depth Pro against a matte or segmentation, in [0, 1].

    Args:
        predicted_m: (H, W) metres, or depth up to scale.
        matte: (H, W) alpha in [0, 1]; foreground above 0.1.

    Returns:
        ``None`` if the matte has no boundary at all (all foreground or none).
    """
    foreground = matte > MATTE_THRESHOLD
    right, down = foreground[:, 1:] & ~foreground[:, :-1], foreground[1:] & ~foreground[:-1]
    left, up = foreground[:, :-1] & ~foreground[:, 1:], foreground[:-1] & ~foreground[1:]
    if not any(edge.any() for edge in (left, up, right, down)):
        return {"boundary_recall": None}
    ratios = _neighbour_ratios(1.0 / np.maximum(predicted_m.astype(np.float64), _MIN_DEPTH))
    scores = []
    for threshold in RATIO_THRESHOLDS:
        found = [thin_runs(ratios[0], threshold), thin_runs(ratios[1].T, threshold).T]
        found += [thin_runs(ratios[2], threshold), thin_runs(ratios[3].T, threshold).T]
        scores.append(float(np.mean([_share(a, b) for a, b in zip(found, (left, up, right, down), strict=True)])))
    return {"boundary_recall": float(np.average(scores, weights=RATIO_THRESHOLDS))}


def flying_share(
    predicted_m: Floats,
    measured_m: Floats,
    valid: BoolMap,
    own_surfaces_px: int | None = None,
    left_out: BoolMap | None = None,
) -> float:
    """Share of the pixels near true edges that lie on neither surface but between the two, in [0, 1]; 0 without edges.

    The arguments are those of :func:`flying_pixels`.
    """
    flying, beside = flying_pixels(predicted_m, measured_m, valid, own_surfaces_px, left_out)
    return flying / beside if beside else 0.0


def flying_pixels(
    predicted_m: Floats,
    measured_m: Floats,
    valid: BoolMap,
    own_surfaces_px: int | None = None,
    left_out: BoolMap | None = None,
) -> tuple[int, int]:
    """How many pixels near true edges lie on neither surface but between the two, and how many there are near edges.

    Args:
        predicted_m: (H, W) metres, aligned.
        measured_m: (H, W) true metres.
        valid: bool (H, W), where they are known.
        own_surfaces_px: None: the surfaces are the nearest and the farthest true depth within 4 px. Else the prediction's own
            nearest and farthest within so many pixels, so that a wrong depth of a whole surface counts for nothing here.
        left_out: bool (H, W), pixels that give no point, so that they neither fly nor count.
    """
    import cv2  # noqa: PLC0415  (keeps `import leadline.evaluation` light)

    edge = np.zeros(valid.shape, np.uint8)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        low, high = np.minimum(measured_m[one], measured_m[other]), np.maximum(measured_m[one], measured_m[other])
        step = valid[one] & valid[other] & (high > (1 + FLYING_STEP) * low)
        edge[one] |= step
        edge[other] |= step
    beside = (cv2.dilate(edge, np.ones((2 * FLYING_PX + 1,) * 2, np.uint8)) > 0) & valid
    if left_out is not None:
        beside &= ~left_out
    if not beside.any():
        return 0, 0
    depth = predicted_m.astype(np.float32)
    if own_surfaces_px is not None:
        window = np.ones((2 * own_surfaces_px + 1,) * 2, np.uint8)
        near, far = cv2.erode(depth, window), cv2.dilate(depth, window)
    else:
        true, window = (
            measured_m.astype(np.float32),
            np.ones((2 * FLYING_PX + 3,) * 2, np.uint8),
        )  # sees beyond the edge
        near = cv2.erode(np.where(valid, true, np.float32(np.inf)), window)
        far = cv2.dilate(np.where(valid, true, np.float32(0)), window)
    flies = (depth / (1 + FLYING_SHARE) > near) & (depth / (1 - FLYING_SHARE) < far)
    return int(np.count_nonzero(flies & beside)), int(np.count_nonzero(beside))


def edge_precision_recall(
    predicted_m: Floats, measured_m: Floats, valid: BoolMap | None = None, threshold: float = SOBEL_THRESHOLD
) -> Scores:
    """Edge precision and recall of Hu et al. (WACV 2019), the measure of DepthFM's Table 4; each in [0, 1].

    Edges are pixels whose Sobel magnitude (plain 3×3 kernels, zeros beyond the border, as in Hu's code) exceeds the
    threshold; a predicted edge is right if the same pixel is an edge of the ground truth. Pixels whose 3×3
    neighbourhood within the picture is not fully valid do not count.

    Returns:
        ``edge_precision`` is ``None`` if nothing was predicted as an edge, ``edge_recall`` is ``None`` if the ground
        truth has no edge.
    """
    import cv2  # noqa: PLC0415  (keeps `import leadline.evaluation` light)

    mask = valid_pixels(predicted_m, measured_m, valid)
    height, width = mask.shape
    predicted, true, both = 0, 0, 0
    for rows in row_blocks(height, width):
        around = slice(max(rows.start - 1, 0), min(rows.stop + 1, height))
        inside = slice(rows.start - around.start, rows.stop - around.start)
        good = mask[around]
        inner = cv2.erode(good.astype(np.uint8), np.ones((3, 3), np.uint8))[inside].astype(bool)
        edge = (sobel_magnitude(np.where(good, predicted_m[around], 0.0))[inside] > threshold) & inner
        true_edge = (sobel_magnitude(np.where(good, measured_m[around], 0.0))[inside] > threshold) & inner
        predicted += int(np.count_nonzero(edge))
        true += int(np.count_nonzero(true_edge))
        both += int(np.count_nonzero(edge & true_edge))
    return {"edge_precision": both / predicted if predicted else None, "edge_recall": both / true if true else None}


def sobel_magnitude(depth: Floats) -> Map64:
    """(H, W) gradient magnitude with the plain 3×3 Sobel kernels (sum of weights 8), zeros beyond the border."""
    import cv2  # noqa: PLC0415

    depth = np.ascontiguousarray(depth, dtype=np.float64)
    across = np.asarray(cv2.Sobel(depth, cv2.CV_64F, 1, 0, ksize=3, borderType=cv2.BORDER_CONSTANT))
    down = np.asarray(cv2.Sobel(depth, cv2.CV_64F, 0, 1, ksize=3, borderType=cv2.BORDER_CONSTANT))
    return np.sqrt(across * across + down * down)
