"""What points that are left out teach: how far to believe the model, and how wrong the result is, near points and far."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from leadline.completion.blocks import beside
from leadline.completion.edges import REACH, edges
from leadline.completion.local import Estimate, Pixels, regress
from leadline.completion.neighbours import on_processor
from leadline.completion.setting import Setting
from leadline.completion.tuned import LEFT_OUT
from leadline.completion.uncertainty import Calibration, Clues, Layout, calibrate


def learn(setting: Setting) -> tuple[float, Lesson | None]:
    """The model's share that foretells left-out points best, and what they tell about errors."""
    if len(setting.sparse) < LEFT_OUT.fewest:
        return 1.0, None
    rng = np.random.default_rng(setting.options.seed)
    singles = _Singles(setting, rng)
    shares = torch.linspace(0, 1, LEFT_OUT.shares, device=singles.chosen.device)
    error = (singles.estimates(shares, slice(None, None, LEFT_OUT.tried)) - singles.truth[:: LEFT_OUT.tried]).abs()
    best = float(shares[(error / singles.tolerance[:: LEFT_OUT.tried]).clamp_max_(1.0).mean(1).argmin()])

    def rest() -> tuple[LeftOut, LeftOut | None]:
        made, edge = singles.estimate(best), singles.edge(best)
        alone = LeftOut(made, singles.model, singles.truth, singles.chosen, singles.around, singles.left_out, edge)
        return alone, _regions(setting, rng, best, len(singles.chosen))

    return best, Lesson(setting, beside(rest) if on_processor(setting.map) else rest)


class LeftOut(NamedTuple):
    """Points that were left out: (n,) the estimate made without them, the model, the truth, their indices; their neighbours and
    which of these were left out with them, (K, n); the edge of the estimate there, of the first m points only, (m,)."""

    estimate: Estimate
    model: Tensor
    truth: Tensor
    chosen: Tensor
    around: Tensor
    without: Tensor | None
    edge: Tensor


class Lesson(NamedTuple):
    """What left-out points tell about the errors of a picture: ``left_out`` waits for single ones and for regions, if there are holes."""

    setting: Setting
    left_out: Callable[[], tuple[LeftOut, LeftOut | None]]

    def calibration(self) -> Calibration | None:
        """What errors to expect."""
        setting, (singles, regions) = self.setting, self.left_out()
        layout = Layout(len(setting.sparse), setting.spacing, setting.in_lines, _caution(setting))
        return calibrate(*self._told(singles), layout, None if regions is None else self._told(regions))

    def _told(self, left: LeftOut) -> tuple[Clues, Tensor]:
        """The clues (1, m), and the errors of log depth (n,)."""
        setting, first = self.setting, slice(len(left.edge))
        estimate = Estimate(*(part[None, first] for part in left.estimate))
        without = None if left.without is None else left.without[:, first]
        clues = clues_of(setting, estimate, left.model[None, first], left.edge[None], left.around[:, first], without)
        depth = setting.within(setting.space.to_depth(left.estimate.value))
        return clues, torch.log(depth / setting.depth_m[left.chosen]).abs_()


def clues_of(
    setting: Setting, estimate: Estimate, model: Tensor, edge: Tensor, around: Tensor, without: Tensor | None = None
) -> Clues:
    """What foretells an error at places (T, C) whose neighbours, indices (K, C), are given, some of them left out, bool (K, C)."""
    space = setting.space
    depth = setting.within(space.to_depth(estimate.value))
    relative = space.depth_slope(space.from_depth(depth)) / depth
    around_m = setting.depth_m[around]
    nearest_m = (around_m if without is None else around_m.masked_fill(without, torch.inf)).amin(0)
    farthest_m = (around_m if without is None else around_m.masked_fill(without, 0.0)).amax(0)
    return Clues(estimate, model, edge, torch.log(depth / nearest_m), torch.log(farthest_m / depth), relative)


class _Singles:
    """Points left out one by one (of scan lines, with what is as near as a pixel's nearest)."""

    def __init__(self, setting: Setting, rng: np.random.Generator) -> None:
        self.setting = setting
        points, device = setting.points, setting.tiles.device
        count = setting.options.left_out // (3 if setting.in_lines else 1)
        self.chosen = torch.as_tensor(rng.permutation(len(setting.sparse))[:count], device=device)
        tiles = setting.tiles[self.chosen]
        self.x, self.y = points.x[self.chosen], points.y[self.chosen]
        self.model, self.truth = points.model[self.chosen], points.value[self.chosen]
        self.tolerance = setting.tolerance(self.truth)
        self.bandwidth = setting.bandwidth[tiles]
        self.around = setting.neighbours[:, tiles]
        needed = len(self.around)
        if setting.in_lines:
            nearby = min(4 * needed, len(setting.sparse))
            self.around = setting.search.nearest(torch.stack([self.x, self.y], 1), nearby)[1]
        self.left_out = self.around == self.chosen
        if setting.in_lines:
            nearest = setting.nearest[
                setting.nearest <= LEFT_OUT.hole * setting.spacing
            ]  # holes are the regions' business
            guard = nearest[torch.as_tensor(rng.integers(0, len(nearest), len(self.chosen)), device=device)]
            dx, dy = points.x[self.around] - self.x, points.y[self.around] - self.y
            self.left_out |= _guarded(dx, dy, guard, needed, setting.options.strips)
            # The nearest that are not left out.
            told_by = self.left_out.byte().sort(dim=0, stable=True).indices[:needed]
            self.around, self.left_out = self.around.gather(0, told_by), self.left_out.gather(0, told_by)

    def _regressed(self, shares: Tensor, some: slice) -> Estimate:
        """(shares, points) for some of the left-out points."""
        size = (len(shares), len(self.chosen[some]))
        at = Pixels(
            self.x[some].expand(size),
            self.y[some].expand(size),
            self.setting.points.guide[:, self.chosen[some]][:, None],
            self.model[some].expand(size),
            shares[:, None].expand(size),
        )
        return regress(
            at,
            self.setting.points,
            self.around[:, some],
            self.bandwidth[some],
            self.tolerance[some],
            self.setting.options.local,
            self.left_out[:, some],
        )

    def estimates(self, shares: Tensor, some: slice) -> Tensor:
        """(shares, points) values."""
        return self._corrected(self._regressed(shares, some), some).value

    def estimate(self, share: float) -> Estimate:
        """(points,) with one share of the model."""
        everyone = slice(None)
        made = self._corrected(self._regressed(torch.tensor([share], device=self.x.device), everyone), everyone)
        return Estimate(*(part[0] for part in made))

    def edge(self, share: float) -> Tensor:
        """(m,) edges of the estimate at the first points, made without them: with them it would bend towards them, and tell."""
        setting, grid, some = self.setting, self.setting.grid, slice(LEFT_OUT.edged)
        side = 2 * REACH + 1
        around_it = torch.arange(-REACH, REACH + 1, device=self.x.device)
        rows = (self.y[some].long() // grid.stride + around_it.repeat_interleave(side)[:, None]).clamp_(
            0, grid.shape[0] - 1
        )
        columns = (self.x[some].long() // grid.stride + around_it.repeat(side)[:, None]).clamp_(0, grid.shape[1] - 1)
        model = grid.whole(setting.model)[rows, columns]
        x, y = (place * float(grid.stride) + (grid.stride - 1) / 2 for place in (columns, rows))
        at = Pixels(x, y, setting.guide[:, rows, columns], model, torch.full_like(model, share))
        around, without, bandwidth = self.around[:, some], self.left_out[:, some], self.bandwidth[some]
        estimate = regress(
            at, setting.points, around, bandwidth, setting.tolerance(model), setting.options.local, without
        )
        value = towards_model(estimate, model, setting.dense_enough(bandwidth)).value
        space = setting.space
        possible = space.from_depth(setting.within(space.to_depth(value)))
        return edges(possible.view(side, side, -1))[REACH, REACH]

    def _corrected(self, estimate: Estimate, some: slice) -> Estimate:
        return towards_model(estimate, self.model[some], self.setting.dense_enough(self.bandwidth[some]))


def towards_model(estimate: Estimate, model: Tensor, local: Tensor) -> Estimate:
    """An estimate of which only the part ``local``, in [0, 1], is left: the rest is the fitted model."""
    return estimate._replace(value=torch.lerp(model, estimate.value, local), share=1.0 - local * (1.0 - estimate.share))


def _regions(setting: Setting, rng: np.random.Generator, share: float, singles: int) -> LeftOut | None:
    """The centres of discs of left-out points.

    A disc lies around the point nearest to a random far pixel and is as large as that pixel is away from it: what is left out
    is the rim of the image's own holes, which lie where sensors fail, not just anywhere. There are as many discs among all
    left-out points as far pixels in the image. None if hardly any pixel is far from points.
    """
    nearest, device = setting.nearest, setting.tiles.device
    far = (nearest > LEFT_OUT.hole * setting.spacing).nonzero()[:, 0]
    holes = len(far) / len(nearest)
    number = len(setting.sparse)
    if holes < LEFT_OUT.holes_share or number < 2 * LEFT_OUT.fewest_around:
        return None
    options, points = setting.options, setting.points
    wanted = int(np.clip(singles * holes / (1 - holes), 20, options.regions))
    like = far[torch.as_tensor(rng.integers(0, len(far), wanted), device=device)]
    centres, radius = setting.neighbours[0, like], nearest[like]
    rim = torch.as_tensor(rng.permutation(number)[: options.region_points], device=device)
    places = torch.stack([points.x, points.y], 1)
    apart = torch.cdist(places[centres], places[rim], compute_mode="donot_use_mm_for_euclid_dist")
    inside = apart < radius[:, None]
    enough = len(rim) - inside.sum(1) >= LEFT_OUT.fewest_around
    if not bool(enough.any()):
        return None
    centres, apart = centres[enough], apart[enough].masked_fill_(inside[enough], torch.inf)
    distances, around = torch.topk(apart, min(len(setting.neighbours), LEFT_OUT.fewest_around), largest=False)
    distances, around = distances.T, rim[around.T]
    drawn = 1.0 - (1.0 - share) * setting.within_reach(distances[0])
    model, truth = points.model[centres], points.value[centres]
    at = Pixels(
        points.x[centres][None], points.y[centres][None], points.guide[:, centres][:, None], model[None], drawn[None]
    )
    bandwidth = setting.bandwidth_of(distances)
    estimate = regress(at, points, around.contiguous(), bandwidth, setting.tolerance(truth), options.local)
    estimate = Estimate(*(part[0] for part in estimate))
    estimate = towards_model(estimate, model, setting.dense_enough(bandwidth))
    return LeftOut(estimate, model, truth, centres, around, None, torch.zeros_like(truth))


def _caution(setting: Setting) -> float:
    """How much harder pixels between scan lines are than the points on the lines, from which the uncertainty is learnt."""
    if setting.line_step is None:
        return 0.0
    return min(setting.spacing / (setting.options.apart * setting.line_step), 1.0)


def _guarded(dx: Tensor, dy: Tensor, guard: Tensor, needed: int, strips: int) -> Tensor:
    """Neighbours (K, m), nearest first, that are left out with a point of a scan line: bool (K, m).

    On a line, neighbours are closer than to the pixels between lines. Leaving out those within ``guard`` (m,), as far as a
    random pixel is from its nearest point, makes the test as hard as the task; for every other point the guard is a strip along
    its line, so that other lines must tell. At least half of the ``needed`` neighbours stay.
    """
    apart = torch.hypot(dx, dy)
    nearest = apart[1]
    across = (dx * dy[1] - dy * dx[1]).abs() / nearest.clamp_min(1e-3)
    limit = torch.minimum(guard, apart[-needed // 2])
    strip = (across < limit) & (apart < apart[-needed // 2])
    alternate = torch.arange(len(guard), device=guard.device) % strips == 0
    return torch.where(alternate, strip, apart < limit)
