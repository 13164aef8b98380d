"""complete(): an image's relative depth and a few measured points → dense metric depth with its uncertainty."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from leadline.completion.blocks import on_one_core
from leadline.completion.conditioned_map import ConditionedMap
from leadline.completion.fit import Fit, fit_scale_and_shift, judged
from leadline.completion.fusion import fuse, scaled
from leadline.completion.options import FusionOptions
from leadline.completion.prior import MapRange
from leadline.completion.tuned import FIT, PRIOR
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.files.image import ImageLike, read_image
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.sparse import SparseDepth, points_of

#: What :func:`complete` knows.
METHODS = ("fusion", "scale", "depthfm")


def complete(
    image: ImageLike,
    prediction: DepthPrediction,
    sparse_depth_m: npt.NDArray[Any] | SparseDepth,
    camera: CalibratedCamera | None = None,
    method: str = "fusion",
    *,
    fit: Fit | None = None,
    options: FusionOptions | None = None,
    device: str | torch.device = "cpu",
) -> DepthPrediction:
    """Fuse a model's map with measured depth.

    Scale and shift are fitted robustly in the model's own space (few points move a prior, so that the shape stays); then,
    where points are dense enough, every pixel's value is regressed on the points around it, weighing place and
    colour, with the model's map as one of the regressors. Points that their neighbours contradict are taken out first; the
    result passes through the others. Far from all points it follows the model. Points and regions of points left out in
    turn tell how much to believe the model and how large errors are. Sky is found and said.

    Args:
        image: The photograph, anything :func:`leadline.files.image.read_image` takes.
        prediction: A model's map of it.
        sparse_depth_m: (H, W) metres at the image's resolution, 0 or NaN where nothing was measured; or a
            :class:`SparseDepth`.
        camera: If given, its size must be the image's.
        method: ``"fusion"``; ``"scale"`` for the fit of scale and shift alone; ``"depthfm"`` for a map that a completion model
            made with these points (:func:`leadline.completion.predict_with_sparse`): its metres are its own, not fitted.
        fit: Use this scale and shift instead of fitting them (streams carry them over).
        options: Constants.
        device: Where to compute; the result is NumPy in any case.

    Returns:
        Metric depth with uncertainty in metres, and ``validity``: what stands behind each pixel.
        ``meta["completion"]`` says what was used and lists ``warnings``. With no point (and no ``fit``) it is ``prediction``
        itself, not metric, and the status there is "no points".

    Raises:
        InputError: Sizes differ, depth is not metres, or the method is not known.
    """
    started = perf_counter()
    options = options or FusionOptions()
    if method not in METHODS:
        raise InputError(f"completion method {method!r} is not known; use {', '.join(map(repr, METHODS))}")
    if method == "depthfm":
        fit = fit or _own_metres(prediction)
    rgb = read_image(image)
    height, width = rgb.shape[:2]
    if prediction.shape != (height, width):
        raise InputError(
            f"the prediction is {prediction.shape[1]}x{prediction.shape[0]} and the image {width}x{height}"
        )
    if camera is not None:
        camera.check_size(width, height)
    sparse, warnings = points_of(sparse_depth_m, (height, width))
    space = prediction.space
    report: dict[str, Any] = {"method": method, "points": len(sparse), "warnings": warnings}
    if len(sparse) == 0 and fit is None:
        report["status"] = "no points"
        warnings.append("no points: the map is relative, not metric")
        return replace(prediction, meta={**prediction.meta, "completion": report})
    at_points = prediction.values[sparse.v, sparse.u]
    if method == "depthfm" and fit is not None and len(sparse):
        fit = judged(at_points, sparse.depth_m, space, fit.scale, fit.shift, fit.kind)
        flat = judged(
            at_points, sparse.depth_m, space, 0.0, float(np.median(space.from_depth(sparse.depth_m))), "constant"
        )
        if fit.sigma > flat.sigma:
            warnings.append("the network's metres are farther from the points than one constant depth is")
    if fit is None:
        fit = fit_points(prediction, sparse, options.seed)
    if fit.kind == "constant":
        warnings.append("the model's map does not agree with the points; it was not used")
    elif fit.kind == "scale":
        warnings.append("only the scale could be fitted; the shift is assumed")
    report.update(status="metric", scale=fit.scale, shift=fit.shift, fitted_in=space.value, fit=fit.kind)
    values = torch.as_tensor(prediction.values, device=device)
    spread = None if prediction.uncertainty is None else torch.as_tensor(prediction.uncertainty, device=device)
    uncorrected = method == "scale" or (method == "depthfm" and not options.through_points)
    if uncorrected or len(sparse) == 0:
        done = on_one_core(lambda: scaled(rgb, values, spread, sparse, fit, space, options, report))
        report["uncertainty"] = "fit"
    else:
        done = on_one_core(lambda: fuse(rgb, values, spread, sparse, fit, space, options, report))
    report["seconds"] = perf_counter() - started
    return DepthPrediction(
        values=done.depth_m.cpu().numpy(),
        space=Space.DEPTH,
        uncertainty=done.sigma_m.cpu().numpy(),
        metric=True,
        model=prediction.model,
        meta={**prediction.meta, "completion": report},
        validity=done.validity.cpu().numpy(),
    )


def fit_points(prediction: DepthPrediction, sparse: SparseDepth, seed: int = 0) -> Fit:
    """Scale and shift of a whole map from the points (one or more), as :func:`complete` fits them."""
    at_points = prediction.values[sparse.v, sparse.u]
    if len(sparse) >= FIT.prior_matters:
        return fit_scale_and_shift(at_points, sparse.depth_m, prediction.space, seed)
    ends = MapRange.of(prediction.values, prediction.space)
    relative = np.zeros(len(sparse)) if sparse.sigma_m is None else sparse.sigma_m / sparse.depth_m
    if prediction.uncertainty is not None and ends.far != ends.near:
        members = prediction.uncertainty[sparse.v, sparse.u] / abs(ends.far - ends.near) * PRIOR.log_ratio
        relative = np.hypot(relative, members)
    return fit_scale_and_shift(at_points, sparse.depth_m, prediction.space, seed, ends, relative)


def _own_metres(prediction: DepthPrediction) -> Fit:
    """The scale and shift that a conditioned map brings along."""
    if not isinstance(prediction, ConditionedMap) or prediction.space is not Space.LOG_DEPTH:
        raise InputError(
            f"method 'depthfm' needs a map made with sparse depth, and this one of {prediction.model or 'another model'} was "
            "not; use complete_with() or predict_with_sparse() and a completion model"
        )
    return Fit(float(prediction.half_range), float(prediction.centre), 0.0, "condition", 1.0)
