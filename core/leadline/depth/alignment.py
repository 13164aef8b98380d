"""Scale and shift between a relative map and measured depth: least squares in any space, plain or robust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import MAX_DEPTH_M, MIN_DEPTH_M, Space
from leadline.depth.tuned import ROBUST
from leadline.errors import InputError
from leadline.types import BoolMap, Floats

Vector = npt.NDArray[np.float64]

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
    rng = np.random.default_rng(seed)
    if x.size > ROBUST.fitted:
        kept = rng.choice(x.size, ROBUST.fitted, replace=False)
        x, y = x[kept], y[kept]
    judged = rng.choice(x.size, min(judged_on, x.size), replace=False)
    first, second = rng.integers(0, x.size, (2, pairs))
    apart = np.abs(x[first] - x[second]) > 1e-12 * np.abs(x).max()  # nearer ones tell no slope, as in least_squares
    if not apart.any():
        return least_squares(x, y)
    first, second = first[apart], second[apart]
    scales = (y[second] - y[first]) / (x[second] - x[first])
    shifts = y[first] - scales * x[first]
    medians = np.median(np.abs(scales[:, None] * x[judged] + shifts[:, None] - y[judged]), axis=1)
    scale, shift = float(scales[medians.argmin()]), float(shifts[medians.argmin()])
    floor = 1e-9 * max(float(np.ptp(y)), abs(float(np.median(y))), np.finfo(float).tiny)
    for _ in range(passes):
        residual = np.abs(scale * x + shift - y)
        reach = ROBUST.tukey * max(1.4826 * float(np.median(residual)), floor)
        weights = np.maximum(1.0 - (residual / reach) ** 2, 0.0) ** 2
        refined = least_squares(x, y, weights)
        if refined is None:
            break
        done = max(abs(refined[0] - scale) * float(np.ptp(x)), abs(refined[1] - shift)) < floor
        scale, shift = refined
        if done:
            break
    return scale, shift


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
