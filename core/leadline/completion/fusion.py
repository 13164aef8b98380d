"""complete(): an image's relative depth and a few measured points → dense metric depth with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.camera import Camera
from leadline.completion.fit import Fit, fit_scale_and_shift, judged
from leadline.completion.local import Estimate, LocalOptions, Pixels, Points, regress
from leadline.completion.outliers import trust
from leadline.completion.sparse import SparseDepth, points_of
from leadline.completion.uncertainty import Calibration, calibrate
from leadline.errors import InputError
from leadline.image import ImageLike, read_image
from leadline.prediction import DepthPrediction
from leadline.spaces import Space

FloatMap = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

#: What :func:`complete` knows.
METHODS = ("fusion", "scale", "depthfm")
#: Depth is never put nearer or farther than the nearest and farthest point by more than this factor.
_RANGE_FACTOR = 4.0
#: Relative uncertainty claimed where there are too few points to measure it: by number of points, else the last.
_PRIOR_SIGMA = {1: 0.5, 2: 0.35, 3: 0.3}
_PRIOR_SIGMA_REST = 0.25


@dataclass(frozen=True)
class FusionOptions:
    """Constants of the fusion.

    Attributes:
        neighbours: Points that each pixel looks at; half as many again where points lie in scan lines.
        working_pixels: The regression runs on a grid of about this many pixels (finer where points are dense) and is
            brought to full resolution with the model's own map.
        tolerance: Relative depth difference that starts to count as "another surface".
        left_out: Points left out to learn the model's share and the uncertainty.
        guide_blur_px: Blur of the guide image, in pixels of an image 640 wide.
        seed: For the choice of left-out points and the robust fit.
        through_points: Method "depthfm": correct the network's metres by the points around. False: leave them as they are.
    """

    neighbours: int = 14
    working_pixels: int = 65_000
    tolerance: float = 0.2
    left_out: int = 2000
    guide_blur_px: float = 1.5
    seed: int = 0
    through_points: bool = True
    local: LocalOptions = field(default_factory=LocalOptions)


def complete(
    image: ImageLike,
    prediction: DepthPrediction,
    sparse_depth_m: npt.NDArray[Any] | SparseDepth,
    camera: Camera | None = None,
    method: str = "fusion",
    *,
    fit: Fit | None = None,
    options: FusionOptions | None = None,
    device: str | torch.device = "cpu",
) -> DepthPrediction:
    """Fuse a model's map with measured depth.

    Scale and shift are fitted robustly in the model's own space; then every pixel's value is regressed on the points
    around it, weighing place, colour and trust, with the model's map as one of the regressors. Points that their
    neighbours contradict are not trusted; the result passes through those that are. Far from all points it follows the
    model. Points left out in turn tell how much to believe the model and how large errors are.

    Args:
        image: The photograph, anything :func:`leadline.image.read_image` takes.
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
        Metric depth with uncertainty in metres; ``meta["completion"]`` says what was used and lists ``warnings``. With
        no point (and no ``fit``) it is ``prediction`` itself, not metric, with ``meta["completion"]["status"] ==
        "no points"``.

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
        fit = fit_scale_and_shift(at_points, sparse.depth_m, space, options.seed)
    if fit.kind == "constant":
        warnings.append("the model's map does not agree with the points; it was not used")
    elif fit.kind == "scale":
        warnings.append("only the scale could be fitted; the shift is assumed")
    report.update(status="metric", scale=fit.scale, shift=fit.shift, fitted_in=space.value, fit=fit.kind)
    values = torch.as_tensor(prediction.values, device=device)
    spread = None if prediction.uncertainty is None else torch.as_tensor(prediction.uncertainty, device=device)
    uncorrected = method == "scale" or (method == "depthfm" and not options.through_points)
    if uncorrected or len(sparse) == 0:
        depth, sigma = _scaled(values, spread, sparse, fit, space)
        report["uncertainty"] = "fit"
    else:
        depth, sigma = _Fusion(rgb, values, spread, sparse, fit, space, options).run(report)
    report["seconds"] = perf_counter() - started
    return DepthPrediction(
        values=depth.cpu().numpy(),
        space=Space.DEPTH,
        uncertainty=sigma.cpu().numpy(),
        metric=True,
        model=prediction.model,
        meta={**prediction.meta, "completion": report},
    )


def _own_metres(prediction: DepthPrediction) -> Fit:
    """The scale and shift that a conditioned map brings along."""
    own = prediction.meta.get("condition")
    if own is None or prediction.space is not Space.LOG_DEPTH:
        raise InputError(
            f"method 'depthfm' needs a map made with sparse depth, and this one of {prediction.model or 'another model'} was "
            "not; use complete_with() or predict_with_sparse() and a completion model"
        )
    return Fit(float(own["half_range"]), float(own["centre"]), 0.0, "condition", 1.0)


def _scaled(
    values: Tensor, spread: Tensor | None, sparse: SparseDepth, fit: Fit, space: Space
) -> tuple[Tensor, Tensor]:
    """Scale and shift alone: depth and sigma, metres."""
    fitted = values * fit.scale + fit.shift
    depth = _within(space.to_depth(fitted), sparse)
    slope = space.depth_slope(space.from_depth(depth))
    variance = torch.full_like(depth, fit.sigma) if len(sparse) >= 3 else prior_sigma(len(sparse)) * depth / slope
    variance = variance.square()
    if spread is not None:
        variance = variance + (fit.scale * spread).square()
    return depth, variance.sqrt() * slope


def prior_sigma(points: int) -> float:
    """Relative uncertainty claimed for too few points to measure it."""
    return _PRIOR_SIGMA.get(points, _PRIOR_SIGMA_REST)


def _within(depth: Tensor, sparse: SparseDepth) -> Tensor:
    if len(sparse) == 0:
        return depth
    return depth.clamp_(float(sparse.depth_m.min()) / _RANGE_FACTOR, float(sparse.depth_m.max()) * _RANGE_FACTOR)


class _Fusion:
    """One image's fusion. All maps of the working grid are laid out (T, C): pixel of the tile, tile."""

    def __init__(
        self,
        rgb: Rgb,
        values: Tensor,
        spread: Tensor | None,
        sparse: SparseDepth,
        fit: Fit,
        space: Space,
        options: FusionOptions,
    ) -> None:
        self.values, self.spread, self.sparse, self.fit, self.space, self.options = (
            values,
            spread,
            sparse,
            fit,
            space,
            options,
        )
        self.device = values.device
        self.height, self.width = values.shape
        self.stride = self._choose_stride()
        self.rows, self.columns = (-(-side // (2 * self.stride)) for side in (self.height, self.width))  # tiles
        side = 2 * self.stride
        self._tiles = torch.as_tensor((sparse.v // side) * self.columns + sparse.u // side, device=self.device)
        self.guide = self._guide(rgb)
        self.map = values * fit.scale + fit.shift

    def run(self, report: dict[str, Any]) -> tuple[Tensor, Tensor]:
        points, neighbours, bandwidth, nearest = self._prepare()
        points, untrusted = self._judge(points, neighbours)
        report["untrusted_points"] = untrusted
        spacing = max(float(np.median(nearest)), 0.5)
        share, calibration = self._leave_out(points, neighbours, bandwidth, nearest, spacing)
        far = 1.0 / (1.0 + (torch.as_tensor(nearest, device=self.device) / (6 * spacing + self.stride)) ** 4)
        pixels = self._pixels(1.0 - (1.0 - share) * far)
        tolerance = self._tolerance(pixels.model)
        estimate = regress(pixels, points, neighbours, bandwidth, tolerance, self.options.local)
        sigma = self._sigma(estimate, pixels.model, calibration)
        if self.spread is not None:
            members = self._tiled(self._coarse(self.spread)) * self.fit.scale * estimate.share
            sigma = torch.where(estimate.distance > 3 * spacing, torch.hypot(sigma, members), sigma)
        report.update(
            model_share=share,
            uncertainty="left-out points" if calibration is not None else "prior",
            working_stride=self.stride,
        )
        return self._finish(estimate, sigma, pixels.model, points)

    # -- the working grid ----------------------------------------------------------------------------------------

    def _choose_stride(self) -> int:
        pixels = self.height * self.width
        spacing = (pixels / len(self.sparse)) ** 0.5
        by_budget = round((pixels / self.options.working_pixels) ** 0.5)
        return int(np.clip(min(by_budget, spacing / 1.5), 1, 8))

    def _guide(self, rgb: Rgb) -> Tensor:
        """(3, h, w) CIELAB of the working grid, 0..255."""
        stride = self.stride
        height, width = 2 * stride * self.rows, 2 * stride * self.columns
        padded = cv2.copyMakeBorder(rgb, 0, height - self.height, 0, width - self.width, cv2.BORDER_REPLICATE)
        small = cv2.resize(padded, (width // stride, height // stride), interpolation=cv2.INTER_AREA)
        blur = self.options.guide_blur_px * max(self.width / 640, 0.5) / stride
        if blur > 0.3:
            small = cv2.GaussianBlur(small, (0, 0), blur)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
        return torch.as_tensor(lab, device=self.device).permute(2, 0, 1).float().contiguous()

    def _coarse(self, full: Tensor) -> Tensor:
        """(H, W) → (h, w) of the working grid: means of stride × stride pixels."""
        stride = self.stride
        below, right = 2 * stride * self.rows - self.height, 2 * stride * self.columns - self.width
        padded = torch.nn.functional.pad(full[None, None], (0, right, 0, below), mode="replicate")
        return (torch.nn.functional.avg_pool2d(padded, stride) if stride > 1 else padded)[0, 0]

    def _tiled(self, grid: Tensor) -> Tensor:
        """(..., h, w) → (..., T, C)."""
        lead = grid.shape[:-2]
        tiles = grid.reshape(*lead, self.rows, 2, self.columns, 2).movedim((-3, -1), (-4, -3))
        return tiles.reshape(*lead, 4, self.rows * self.columns)

    def _grid(self, tiles: Tensor) -> Tensor:
        """(T, C) → (h, w)."""
        return tiles.reshape(2, 2, self.rows, self.columns).permute(2, 0, 3, 1).reshape(2 * self.rows, 2 * self.columns)

    def _pixels(self, share: Tensor) -> Pixels:
        stride = self.stride
        y = torch.arange(2 * self.rows, device=self.device, dtype=torch.float32) * stride + (stride - 1) / 2
        x = torch.arange(2 * self.columns, device=self.device, dtype=torch.float32) * stride + (stride - 1) / 2
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        model = self._tiled(self._coarse(self.map))
        return Pixels(
            self._tiled(grid_x), self._tiled(grid_y), self._tiled(self.guide), model, share.float().expand_as(model)
        )

    # -- the points ----------------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Points, Tensor, Tensor, npt.NDArray[np.float32]]:
        """Points as tensors, (K, C) neighbours of the tiles, (C,) bandwidth and (C,) distance to the nearest."""
        from scipy.spatial import cKDTree  # noqa: PLC0415  (slow to import)

        sparse, side = self.sparse, 2 * self.stride
        places = np.stack([sparse.u, sparse.v], axis=1).astype(np.float32)
        tile_y = np.arange(self.rows) * side + (side - 1) / 2
        tile_x = np.arange(self.columns) * side + (side - 1) / 2
        centres = np.stack(np.meshgrid(tile_x, tile_y), axis=-1).reshape(-1, 2)
        self._tree = tree = cKDTree(places, balanced_tree=False, compact_nodes=False)
        self.in_lines = self._lie_in_lines(places)
        count = min(self.options.neighbours * (3 if self.in_lines else 2) // 2, len(sparse))
        distances, indices = tree.query(centres, k=np.arange(1, count + 1), workers=torch.get_num_threads())
        bandwidth = distances[:, min(self.options.local.rank, count - 1)].astype(np.float32)
        v = torch.as_tensor(sparse.v, device=self.device)
        u = torch.as_tensor(sparse.u, device=self.device)
        value = torch.as_tensor(self.space.from_depth(sparse.depth_m.astype(np.float64)), device=self.device).float()
        points = Points(
            x=u.float(),
            y=v.float(),
            guide=self.guide[:, v // self.stride, u // self.stride],
            value=value,
            model=self.map[v, u],
            trust=torch.ones_like(value),
        )
        neighbours = torch.as_tensor(np.ascontiguousarray(indices.T), device=self.device)
        return (
            points,
            neighbours,
            torch.as_tensor(np.maximum(bandwidth, 1.0), device=self.device),
            distances[:, 0].astype(np.float32),
        )

    def _lie_in_lines(self, places: npt.NDArray[np.float32]) -> bool:
        """Whether points are much closer to each other than scattered ones would be: a scanner's lines."""
        if len(places) < 50:
            return False
        some = places[:: max(1, len(places) // 300)]
        closest = self._tree.query(some, k=2)[0][:, 1]
        scattered = 0.5 * (self.height * self.width / len(places)) ** 0.5
        return bool(np.median(closest) < 0.7 * scattered) and scattered > 1.5

    def _tolerance(self, values: Tensor) -> Tensor:
        """What the relative tolerance is at these values, in their unit."""
        return self.options.tolerance * self.space.to_depth(values) / self.space.depth_slope(values)

    def _judge(self, points: Points, neighbours: Tensor) -> tuple[Points, int]:
        """Points with their trust, and how many are not trusted."""
        unit = self._tolerance(points.value)
        believed = trust(points, neighbours, self._tiles, unit, self.options.local.colour)
        return points._replace(trust=believed), int((believed < 0.5).sum())

    def _leave_out(
        self,
        points: Points,
        neighbours: Tensor,
        bandwidth: Tensor,
        nearest: npt.NDArray[np.float32],
        spacing: float,
    ) -> tuple[float, Calibration | None]:
        """The model's share that foretells left-out points best, and the calibration of the uncertainty."""
        trusted = torch.nonzero(points.trust > 0.5)[:, 0]
        if trusted.numel() < 5:
            return 1.0, None
        rng = np.random.default_rng(self.options.seed)
        count = self.options.left_out // (3 if self.in_lines else 1)
        chosen = torch.as_tensor(rng.permutation(trusted.numel())[:count], device=self.device)
        chosen_points = trusted[chosen]
        tiles = self._tiles[chosen_points]
        x, y = points.x[chosen_points], points.y[chosen_points]
        around = neighbours[:, tiles]
        if self.in_lines:
            # Neighbours sit closer to the points than to the pixels between the lines: leave those out, too. A guard as
            # wide as a random pixel's distance to its nearest point makes the test as hard as the task.
            places = np.stack([x.cpu().numpy(), y.cpu().numpy()], axis=1)
            nearby = self._tree.query(places, k=np.arange(1, min(4 * len(neighbours), len(self.sparse)) + 1))[1]
            around = torch.as_tensor(np.ascontiguousarray(nearby.T), device=self.device)
        apart = torch.hypot(points.x[around] - x, points.y[around] - y)
        left_out = around == chosen_points
        if self.in_lines:
            guard = torch.as_tensor(rng.choice(nearest, len(chosen)), device=self.device)
            left_out |= apart < torch.minimum(guard, apart[-len(neighbours) // 2])
            left_out |= (~left_out).cumsum(0) > len(neighbours)
        shares = torch.linspace(0, 1, 5, device=self.device)[:, None]
        model = points.model[chosen_points]
        at = Pixels(
            x.expand(5, -1),
            y.expand(5, -1),
            points.guide[:, chosen_points][:, None],
            model.expand(5, -1),
            shares.expand(5, len(chosen)),
        )
        tolerance = self._tolerance(points.value[chosen_points])
        found = regress(at, points, around, bandwidth[tiles], tolerance, self.options.local, left_out)
        error = (found.value - points.value[chosen_points]).abs()
        loss = torch.minimum(error / tolerance, torch.ones_like(error)).mean(1)
        best = int(loss.argmin())
        estimate = Estimate(*(part[best] for part in found))
        return float(shares[best]), calibrate(
            estimate, model, points.value[chosen_points], spacing, cautious=self.in_lines
        )

    # -- the result ----------------------------------------------------------------------------------------------

    def _sigma(self, estimate: Estimate, model: Tensor, calibration: Calibration | None) -> Tensor:
        if calibration is not None:
            return calibration.sigma(estimate, model)
        possible = self.space.from_depth(_within(self.space.to_depth(estimate.value), self.sparse))
        return prior_sigma(len(self.sparse)) * self._tolerance(possible) / self.options.tolerance

    def _full(self, tiles: Tensor) -> Tensor:
        """(T, C) → (H, W)."""
        grid = self._grid(tiles)
        if self.stride == 1:
            return grid[: self.height, : self.width]
        full = torch.nn.functional.interpolate(
            grid[None, None], scale_factor=self.stride, mode="bilinear", align_corners=False
        )
        return full[0, 0, : self.height, : self.width]

    def _finish(self, estimate: Estimate, sigma: Tensor, model: Tensor, points: Points) -> tuple[Tensor, Tensor]:
        """Full resolution, through the points, metres."""
        if self.stride == 1:
            fused = self._full(estimate.value).clone()
        else:
            fused = torch.addcmul(
                self._full(estimate.value - estimate.share * model), self._full(estimate.share), self.map
            )
        v, u = points.y.long(), points.x.long()
        fused[v, u] += points.trust * (points.value - fused[v, u])
        depth = _within(self.space.to_depth(fused), self.sparse)
        rough = _within(self.space.to_depth(estimate.value), self.sparse)
        relative = sigma * self.space.depth_slope(self.space.from_depth(rough)) / rough
        return depth, self._full(relative) * depth
