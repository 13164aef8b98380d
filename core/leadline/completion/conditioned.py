"""The second way to complete: a network that was trained with sparse depth beside the photograph (DepthFM's appendix)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.conditioned_map import ConditionedMap
from leadline.completion.conditioning import SparseCondition, sparse_condition
from leadline.completion.methods import complete
from leadline.completion.options import FusionOptions
from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.files.image import ImageLike, read_image
from leadline.inference.estimator import DepthEstimator
from leadline.inference.framing import Framed
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.sparse import SparseDepth, nearest_points, points_of


def takes_sparse_depth(estimator: Any) -> bool:
    """Whether a loaded model was trained with sparse depth, so that it runs anew for other points."""
    spec = getattr(estimator, "spec", None)  # baselines have none
    return spec is not None and spec.takes_sparse_depth


def complete_with(
    estimator: DepthEstimator,
    image: ImageLike,
    sparse_depth_m: npt.NDArray[Any] | SparseDepth,
    camera: CalibratedCamera | None = None,
    method: str = "fusion",
    *,
    options: FusionOptions | None = None,
    device: str | torch.device = "cpu",
    **prediction: Any,
) -> DepthPrediction:
    """Run the model and complete its map, by whichever method.

    Args:
        estimator: For ``method="depthfm"`` a completion model, for the others any that needs nothing but the image.
        image, sparse_depth_m, camera, method, options, device: See :func:`leadline.completion.complete`.
        **prediction: For :meth:`~leadline.DepthEstimator.predict`: steps, ensemble, size, seed.

    Raises:
        InputError: The model is not one for the method, or see :func:`leadline.completion.complete`. Without a point
            a completion model has nothing to work from and this is an error, too.
    """
    rgb = read_image(image)
    if method == "depthfm":
        made: DepthPrediction = predict_with_sparse(estimator, rgb, sparse_depth_m, **prediction)
    elif takes_sparse_depth(estimator):
        raise InputError(
            f"{estimator.name} sees sparse depth itself: use method 'depthfm', or another model for {method!r}"
        )
    else:
        made = estimator.predict(rgb, **prediction)
    return complete(rgb, made, sparse_depth_m, camera, method, options=options, device=device)


def predict_with_sparse(
    estimator: DepthEstimator, image: ImageLike, sparse_depth_m: npt.NDArray[Any] | SparseDepth, **prediction: Any
) -> ConditionedMap:
    """A completion model's map of an image and sparse depth.

    Returns:
        Normalised log depth, not metric yet, with the numbers with which :func:`leadline.completion.complete` makes
        metres of it.

    Raises:
        InputError: The model takes no sparse depth, there is no point, or sizes differ.
    """
    if not takes_sparse_depth(estimator):
        raise InputError(
            f"method 'depthfm' needs a model trained with sparse depth, which {getattr(estimator, 'name', 'this one')} is "
            "not; use depthfm-mini-completion"
        )
    rgb = read_image(image)
    sparse, _ = points_of(sparse_depth_m, (rgb.shape[0], rgb.shape[1]))
    if len(sparse) == 0:
        raise InputError(
            "there is no usable point, and a completion model completes nothing without one; use method 'fusion'"
        )
    made: list[SparseCondition] = []

    def condition(framed: Framed) -> Tensor:
        made.append(framed_condition(sparse, framed))
        return made[0].pictures()

    result: DepthPrediction = estimator.predict(rgb, condition=condition, **prediction)
    parts = {one.name: getattr(result, one.name) for one in fields(result)}
    return ConditionedMap(**parts, centre=made[0].centre, half_range=made[0].half_range)


def framed_condition(sparse: SparseDepth, framed: Framed) -> SparseCondition:
    """The condition at the size at which the network works: points drawn there from their coordinates, nearest first."""
    height, width = framed.pixels.shape[1:]
    content = framed.content or (height, width)
    rows = ((sparse.v + 0.5) * content[0] / sparse.size[0]).astype(np.int64)
    columns = ((sparse.u + 0.5) * content[1] / sparse.size[1]).astype(np.int64)
    return sparse_condition(nearest_points(columns, rows, sparse.depth_m, (height, width)).map())
