"""Boundary sharpness: scale-invariant F1 and recall (Depth Pro), and Sobel edge precision and recall (Hu et al.)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import valid_pixels
from leadline.evaluation.metrics import Scores
from leadline.types import BoolMap, Floats

#: Depth Pro: ten ratios between 5 % and 25 %, each weighted by itself.
RATIO_THRESHOLDS = np.linspace(1.05, 1.25, 10)
#: Depth Pro: a matte above this alpha is foreground.
MATTE_THRESHOLD = 0.1
#: Hu et al. 2019, Table 4: gradient magnitudes (metres per 8-fold Sobel step) that count as an edge.
SOBEL_THRESHOLDS = (0.25, 0.5, 1.0)

_MIN_DEPTH = 1e-6
Neighbours = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _neighbour_ratios(nearness: npt.NDArray[np.float64]) -> Neighbours:
    """How much nearer a pixel is than its left, upper, right and lower neighbour."""
    across = nearness[:, 1:] / nearness[:, :-1]
    down = nearness[1:] / nearness[:-1]
    return 1.0 / across, 1.0 / down, across, down


def _share(hits: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(hits & of)) / max(int(np.count_nonzero(of)), 1)


def boundary_f1(predicted_m: Floats, measured_m: Floats, valid: BoolMap | None = None) -> Scores:
    """Scale-invariant boundary F1 of Depth Pro (arXiv 2410.02073, §3.3), in [0, 1].

    A boundary lies between two neighbours whose depths differ by more than a factor t. Precision and recall are means
    over the four directions, F1 is their harmonic mean, and the result is the mean over ten t weighted by t. Only
    neighbours that are both valid count; with every pixel valid this is Depth Pro's number. As there, a direction
    without boundaries contributes 0 and an image without any boundary scores 0. ``None`` only if no two valid pixels touch.

    Args:
        predicted_m: (H, W) metres, or depth up to scale.
        measured_m: (H, W) metres; 0, NaN and infinity mean "not measured".
        valid: bool (H, W).
    """
    mask = valid_pixels(predicted_m, measured_m, valid)
    across, down = mask[:, 1:] & mask[:, :-1], mask[1:] & mask[:-1]
    if not (across.any() or down.any()):
        return {"boundary_f1": None}
    both = (across, down, across, down)
    ours = _neighbour_ratios(1.0 / np.where(mask, np.maximum(predicted_m, _MIN_DEPTH), 1.0).astype(np.float64))
    truth = _neighbour_ratios(1.0 / np.where(mask, np.maximum(measured_m, _MIN_DEPTH), 1.0).astype(np.float64))
    scores = []
    for threshold in RATIO_THRESHOLDS:
        edges = [((a > threshold) & v, (b > threshold) & v) for a, b, v in zip(ours, truth, both, strict=True)]
        precision = float(np.mean([_share(b, a) for a, b in edges]))
        recall = float(np.mean([_share(a, b) for a, b in edges]))
        total = precision + recall
        scores.append(2.0 * precision * recall / total if total > 0 else 0.0)
    return {"boundary_f1": float(np.average(scores, weights=RATIO_THRESHOLDS))}


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


def sobel_magnitude(depth: Floats) -> npt.NDArray[np.float64]:
    """(H, W) gradient magnitude with the plain 3×3 Sobel kernels (sum of weights 8), borders reflected."""
    import cv2  # noqa: PLC0415  (keeps `import leadline.evaluation` light)

    depth = np.ascontiguousarray(depth, dtype=np.float64)
    return np.hypot(cv2.Sobel(depth, cv2.CV_64F, 1, 0, ksize=3), cv2.Sobel(depth, cv2.CV_64F, 0, 1, ksize=3))


def edge_precision_recall(
    predicted_m: Floats,
    measured_m: Floats,
    valid: BoolMap | None = None,
    thresholds: tuple[float, ...] = SOBEL_THRESHOLDS,
) -> Scores:
    """Edge precision and recall of Hu et al. (WACV 2019), the measure of DepthFM's Table 4; each in [0, 1].

    Edges are pixels whose Sobel magnitude exceeds a threshold; a predicted edge is right if the same pixel is an edge
    of the ground truth. The values are means over ``thresholds`` (DepthFM does not state its own). Pixels whose 3×3
    neighbourhood is not fully valid do not count.

    Returns:
        ``edge_precision`` is ``None`` if nothing was predicted as an edge at any threshold, ``edge_recall`` is ``None``
        if the ground truth has no edge at any threshold; thresholds without edges are left out of the mean.
    """
    import cv2  # noqa: PLC0415

    mask = valid_pixels(predicted_m, measured_m, valid)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REFLECT_101).astype(bool)
    ours = sobel_magnitude(np.where(mask, predicted_m, 0.0))
    truth = sobel_magnitude(np.where(mask, measured_m, 0.0))
    precisions, recalls = [], []
    for threshold in thresholds:
        edge, true_edge = (ours > threshold) & inner, (truth > threshold) & inner
        if edge.any():
            precisions.append(_share(true_edge, edge))
        if true_edge.any():
            recalls.append(_share(edge, true_edge))
    return {
        "edge_precision": float(np.mean(precisions)) if precisions else None,
        "edge_recall": float(np.mean(recalls)) if recalls else None,
    }
