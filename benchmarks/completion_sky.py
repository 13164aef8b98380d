"""Fit the regressions that find the sky, and report what they find.

    python benchmarks/completion_sky.py --scenes 24 --seed 777
    python benchmarks/completion_sky.py --report 900 26    # nothing is fitted: 26 streets by the weights that ship, 10 s each

Renders made-up places with and without sky (`leadline.scenes`), runs a model on them, measures them by random patterns, fits
the weights of `leadline.completion.sky` and prints them; then reports on other made-up streets what share of the sky is found (its depth
is not finite, or has a sigma of half of it) and what share of the rest is lost (its depth is not finite). Nothing else is ever seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

import leadline
from leadline.completion import complete, sky
from leadline.completion.sky import Floats, Rgb, SkyOptions, Small
from leadline.depth.prediction import DepthPrediction
from leadline.evaluation.sparse import Intrinsics, sample
from leadline.scenes import render_scenes
from leadline.sensors.sparse import points_of

#: Places that are rendered, in turn.
PLACES = ("street", "square", "street", "facade", "street", "landscape", "street", "yard", "room", "street", "kitchen")
PATTERNS = ("64-line", "16-line", "500", "2%", "5", "32-line")
HEIGHT, WIDTH, PIXELS = 360, 640, 4000
#: Frames with less of it tell nothing about the worst sky.
LEAST_SKY = 0.005


class Place(NamedTuple):
    rgb: Rgb
    depth_m: Floats
    sky: npt.NDArray[np.bool_]
    intrinsics: Intrinsics
    prediction: DepthPrediction

    @property
    def nearness(self) -> Floats:
        return self.prediction.values if self.prediction.space.near_is_high else -self.prediction.values


@cache
def loaded(model: str) -> leadline.DepthEstimator:
    return leadline.load(model)


def rendered(seed: int, count: int, model: str, places: tuple[str, ...] = PLACES) -> Iterator[Place]:
    estimator = loaded(model)
    for number in range(count):
        batch = render_scenes(seed, 1, HEIGHT, WIDTH, places[number % len(places)], first=number)
        rgb, camera = batch.rgb[0].numpy(), batch.intrinsics[0].numpy()
        intrinsics = (float(camera[0, 0]), float(camera[1, 1]), float(camera[0, 2]), float(camera[1, 2]))
        yield Place(rgb, batch.depth_m[0].numpy(), ~batch.valid[0].numpy(), intrinsics, estimator.predict(rgb))


def regression(features: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Logistic regression by Newton's method with a small ridge: (n, k) features → k weights and the constant."""
    inputs = np.concatenate([features, np.ones((len(features), 1))], 1)
    weights, ridge = np.zeros(inputs.shape[1]), 1e-4
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (chance - truth) / len(truth) + ridge * weights
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs / len(truth)
        weights -= np.linalg.solve(curvature + ridge * np.eye(len(weights)), slope)
    return tuple(float(weight) for weight in weights.round(3))


def fitted(places: Iterable[Place], seed: int) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """The weights, by name."""
    rng = np.random.default_rng(seed)
    smalls: dict[str, list[tuple[Small, Floats]]] = {"WITHOUT_POINTS": [], "WITH_POINTS": []}
    for place in places:
        for pattern in rng.choice(PATTERNS, 3, replace=False):
            sparse, _ = points_of(
                sample(str(pattern), place.depth_m, int(rng.integers(1000)), place.intrinsics), place.sky.shape
            )
            small = Small.of(place.rgb, place.nearness, sparse, SkyOptions())
            size = small.hit.shape[::-1]
            truth = np.asarray(cv2.resize(place.sky.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
            smalls["WITHOUT_POINTS" if small.returns is None else "WITH_POINTS"].append((small, truth))
    result = {}
    for name, group in smalls.items():
        picks = [rng.choice(truth.size, PIXELS, replace=False) for _, truth in group]
        right = np.concatenate(
            [truth.ravel()[pick] > 0.5 for (_, truth), pick in zip(group, picks, strict=True)]
        ).astype(float)

        def picked(features: list[list[Floats]], picks: list[npt.NDArray[np.int64]] = picks) -> npt.NDArray[np.float64]:
            return np.concatenate(
                [np.stack([f.ravel()[pick] for f in one], 1) for one, pick in zip(features, picks, strict=True)]
            ).astype(np.float64)

        features = [small.features() for small, _ in group]
        first = regression(picked(features), right)
        both = [
            [*one, *small.second_features(sky.weighed(one, first))]
            for one, (small, _) in zip(features, group, strict=True)
        ]
        result[name] = (first, regression(picked(both), right))
    return result


def report(places: Iterable[Place], patterns: tuple[str, ...] = PATTERNS) -> None:
    counts: dict[str, list[tuple[int, int, int, int]]] = {pattern: [] for pattern in patterns}
    for place in places:
        for pattern in patterns:
            done = complete(place.rgb, place.prediction, sample(pattern, place.depth_m, 0, place.intrinsics))
            gone = ~np.isfinite(done.evident_depth_m)
            assert done.uncertainty is not None
            unsure = (gone | (done.uncertainty >= 0.5 * done.depth_m))[place.sky]
            rest = gone[~place.sky]
            counts[pattern].append((int(unsure.sum()), unsure.size, int(rest.sum()), rest.size))
    for pattern, of in counts.items():
        found, sky_pixels, lost, others = np.array(of, float).T
        shown = sky_pixels > LEAST_SKY * (sky_pixels + others)
        print(
            f"{pattern:8} sky found {found.sum() / sky_pixels.sum():.1%} (worst of {shown.sum()} frames {(found[shown] / sky_pixels[shown]).min():.1%}), "
            f"rest lost {lost.sum() / others.sum():.2%} (worst {(lost / others).max():.2%})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--model", default="fiffdepth-mini")
    parser.add_argument("--report", type=int, nargs=2, metavar=("FIRST", "COUNT"), help="seeds of streets")
    arguments = parser.parse_args()
    if arguments.report:
        first, count = arguments.report
        streets = (place for seed in range(first, first + count) for place in rendered(seed, 1, arguments.model))
        report(streets, ("16-line", "64-line"))
        return
    weights = fitted(rendered(arguments.seed, arguments.scenes, arguments.model), arguments.seed)
    for name, pair in weights.items():
        print(f"{name} = {pair}")
        setattr(sky, name, pair)
    report(rendered(arguments.seed + 1, 8, arguments.model, ("street",)))


if __name__ == "__main__":
    main()
