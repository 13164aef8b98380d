"""Scale and shift between a relative map and measured depth: least squares in any space, plain or robust."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import MAX_DEPTH_M, MIN_DEPTH_M, Space
from leadline.depth.tuned import ROBUST
from leadline.errors import InputError
from leadline.types import BoolMap, Floats

Vector = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.int64]

OK = "ok"
NO_PIXELS = "no valid pixel"
ONE_PIXEL = "one valid pixel"
CONSTANT = "constant prediction"


@dataclass(frozen=True)
class Alignment:
    """``scale * values + shift`` approximates ``space.from_depth(depth_m)``.

    Attributes:
        scale: 0 when the data cannot tell a scale; the map then aligns to a constant.
        shift: In the unit of ``space``.
        space: Where the fit was made.
        status: ``"ok"``, ``"constant prediction"``, ``"one valid pixel"`` or ``"no valid pixel"``.
        pixels: Valid pixels there were.
    """

    scale: float
    shift: float
    space: Space
    status: str
    pixels: int

    @property
    def usable(self) -> bool:
        """Whether there was anything to align to."""
        return self.status != NO_PIXELS

    @property
    def inverted(self) -> bool:
        """Whether the best fit turns the map around: near became far."""
        return self.scale < 0

    def apply(self, values: Floats, min_depth_m: float = MIN_DEPTH_M, max_depth_m: float = MAX_DEPTH_M) -> Vector:
        """Float64 metres, same shape as ``values``, clipped to the given range."""
        fitted = values.astype(np.float64)
        fitted *= self.scale
        fitted += self.shift
        depth: Vector = np.minimum(self.space.to_depth(fitted, min_depth_m), min(max_depth_m, MAX_DEPTH_M))
        return depth


def median(values: npt.NDArray[np.floating]) -> float:
    """Of finite values of any shape, at least one. (Of a few thousand, NumPy's own takes three times as long.)"""
    half = values.size // 2
    middle = np.partition(values.ravel(), half if values.size % 2 else (half - 1, half))
    return float(middle[half] if values.size % 2 else (middle[half - 1] + middle[half]) / 2)


def least_squares(x: Vector, y: Vector, weights: Vector | None = None) -> tuple[float, float] | None:
    """``(a, b)`` minimising Σ w (a x + b - y)², in closed form on centred values; ``None`` if ``x`` does not vary."""
    w = np.ones_like(x) if weights is None else weights
    total = w.sum()
    if total <= 0:
        return None
    mean_x, mean_y = (w @ x) / total, (w @ y) / total
    dx = x - mean_x
    spread = w @ (dx * dx)
    if spread <= total * (1e-12 * max(abs(mean_x), np.abs(dx).max())) ** 2:
        return None
    scale = (w @ (dx * (y - mean_y))) / spread
    return float(scale), float(mean_y - scale * mean_x)


def robust_least_squares(
    x: Vector,
    y: Vector,
    seed: int = 0,
    pairs: int = ROBUST.pairs,
    judged_on: int = ROBUST.judged,
    passes: int = ROBUST.passes,
) -> tuple[float, float] | None:
    """``(a, b)`` with ``a x + b`` near ``y`` for the majority of points: survives close to half of them being wrong.

    The line through the pair of points with the least median residual starts a Tukey-biweight IRLS, each pass of which
    is a closed-form weighted least squares. The same input and seed give the same result. ``None`` if ``x`` does not vary.
    ``pairs`` lines are tried, each on ``judged_on`` points, then come at most ``passes``: fewer are faster and survive less.
    """
    if least_squares(x, y) is None:
        return None
    kept, judged, first, second = _drawn(x.size, seed, pairs, judged_on)
    if kept is not None:
        x, y = x[kept], y[kept]
    apart = np.abs(x[first] - x[second]) > 1e-12 * np.abs(x).max()  # nearer ones tell no slope, as in least_squares
    if not apart.any():
        return least_squares(x, y)
    first, second = first[apart], second[apart]
    scales = (y[second] - y[first]) / (x[second] - x[first])
    shifts = y[first] - scales * x[first]
    best = _line_of_least_median(scales, shifts, x[judged], y[judged])
    scale, shift = float(scales[best]), float(shifts[best])
    floor, width = 1e-9 * max(float(np.ptp(y)), abs(median(y)), np.finfo(float).tiny), float(np.ptp(x))
    for _ in range(passes):
        residual = np.abs(scale * x + shift - y)
        reach = ROBUST.tukey * max(1.4826 * median(residual), floor)
        weights = np.maximum(1.0 - (residual / reach) ** 2, 0.0) ** 2
        refined = least_squares(x, y, weights)
        if refined is None:
            break
        done = max(abs(refined[0] - scale) * width, abs(refined[1] - shift)) < floor
        scale, shift = refined
        if done:
            break
    return scale, shift


@lru_cache(maxsize=4)  # a film asks for the same again and again
def _drawn(size: int, seed: int, pairs: int, judged_on: int) -> tuple[Chosen | None, Chosen, Chosen, Chosen]:
    """Which points are fitted (None: all), and of those, which are judged on and which make the lines."""
    rng = np.random.default_rng(seed)
    kept = rng.choice(size, ROBUST.fitted, replace=False) if size > ROBUST.fitted else None
    size = min(size, ROBUST.fitted)
    judged = rng.choice(size, min(judged_on, size), replace=False)
    first, second = rng.integers(0, size, (2, pairs))
    return kept, judged, first, second


def _line_of_least_median(scales: Vector, shifts: Vector, x: Vector, y: Vector) -> int:
    """The number of the line whose median distance to the points is least."""
    off = scales[:, None] * x
    off += shifts[:, None]
    off -= y
    np.abs(off, out=off)
    half = x.size // 2
    if x.size % 2:
        off.partition(half, axis=1)
        return int(off[:, half].argmin())
    off.partition((half - 1, half), axis=1)
    return int((off[:, half - 1] + off[:, half]).argmin())


def valid_pixels(predicted: Floats, measured: Floats, valid: BoolMap | None = None) -> BoolMap:
    """Bool map of the pixels that count: measured depth finite and positive, prediction finite, and ``valid``."""
    if predicted.shape != measured.shape:
        raise InputError(f"prediction {predicted.shape} and ground truth {measured.shape} differ in size")
    good = np.isfinite(measured) & (measured > 0) & np.isfinite(predicted)
    return good if valid is None else good & valid


def align(
    values: Floats,
    measured_m: Floats,
    space: Space,
    valid: BoolMap | None = None,
    robust: bool = False,
    columns: npt.NDArray[np.intp] | None = None,
) -> Alignment:
    """Fit ``values`` to measured depth in ``space``.

    Args:
        values: (H, W), a model's raw numbers.
        measured_m: (H, W) metres; 0, NaN and infinity mean "not measured".
        space: Where the squared error is measured; the prediction's own unless a protocol says otherwise.
        valid: bool (H, W).
        robust: Tukey instead of squares.
        columns: Fit on these columns only; ``None`` fits on all.

    Returns:
        Never fails for want of data: see :class:`Alignment` for what degenerate cases become.
    """
    if columns is not None:
        values, measured_m = values[:, columns], measured_m[:, columns]
        valid = None if valid is None else valid[:, columns]
    mask = valid_pixels(values, measured_m, valid)
    x = values[mask].astype(np.float64)
    y: Vector = space.from_depth(measured_m[mask].astype(np.float64))
    if x.size == 0:
        return Alignment(0.0, 0.0, space, NO_PIXELS, 0)
    if x.size == 1:
        return Alignment(0.0, float(y[0]), space, ONE_PIXEL, 1)
    fit = robust_least_squares(x, y) if robust else least_squares(x, y)
    if fit is None:
        centre = float(np.median(y) if robust else np.mean(y))
        return Alignment(0.0, centre, space, CONSTANT, int(x.size))
    return Alignment(*fit, space, OK, int(x.size))
