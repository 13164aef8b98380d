"""Fit the regressions that find the sky: `python benchmarks/completion_sky.py [--scenes 24] [--seed 777]`.

Renders made-up places with and without sky (`leadline.scenes`), runs a model on them, measures them by random patterns, fits
the weights of `leadline.completion.sky` and prints them; then reports on other made-up streets what share of the sky is found
and what share of the rest is lost. Nothing else is ever seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

import leadline
from leadline.completion import sky
from leadline.completion.sky import Floats, Rgb, SkyOptions, Small
from leadline.evaluation.sparse import Intrinsics, sample
from leadline.scenes import render_scenes
from leadline.sensors.sparse import points_of

#: Places that are rendered, in turn.
PLACES = ("street", "square", "street", "facade", "street", "landscape", "street", "yard", "room", "street", "kitchen")
PATTERNS = ("64-line", "16-line", "500", "2%", "5", "32-line")
HEIGHT, WIDTH, PIXELS = 360, 640, 4000


class Place(NamedTuple):
    rgb: Rgb
    depth_m: Floats
    sky: npt.NDArray[np.bool_]
    intrinsics: Intrinsics
    nearness: Floats


def rendered(seed: int, count: int, model: str, places: tuple[str, ...] = PLACES) -> Iterator[Place]:
    estimator = leadline.load(model)
    for number in range(count):
        batch = render_scenes(seed, 1, HEIGHT, WIDTH, places[number % len(places)], first=number)
        rgb, camera = batch.rgb[0].numpy(), batch.intrinsics[0].numpy()
        made = estimator.predict(rgb)
        intrinsics = (float(camera[0, 0]), float(camera[1, 1]), float(camera[0, 2]), float(camera[1, 2]))
        nearness = made.values if made.space.near_is_high else -made.values
        yield Place(rgb, batch.depth_m[0].numpy(), ~batch.valid[0].numpy(), intrinsics, nearness)


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
    found: dict[str, list[float]] = {pattern: [] for pattern in patterns}
    lost: dict[str, list[float]] = {pattern: [] for pattern in patterns}
    for place in places:
        for pattern in patterns:
            sparse, _ = points_of(sample(pattern, place.depth_m, 0, place.intrinsics), place.sky.shape)
            mask = sky.sky_mask(place.rgb, place.nearness, sparse, float(np.percentile(place.depth_m, 99)))
            if place.sky.mean() > 0.005:
                found[pattern].append(float(mask[place.sky].mean()))
            lost[pattern].append(float(mask[~place.sky].mean()))
    for pattern in patterns:
        print(
            f"{pattern:8} sky found {100 * np.mean(found[pattern]):.1f} % (worst {100 * min(found[pattern]):.1f} %), "
            f"rest lost {100 * np.mean(lost[pattern]):.2f} % (worst {100 * max(lost[pattern]):.2f} %)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--model", default="fiffdepth-mini")
    arguments = parser.parse_args()
    weights = fitted(rendered(arguments.seed, arguments.scenes, arguments.model), arguments.seed)
    for name, pair in weights.items():
        print(f"{name} = {pair}")
        setattr(sky, name, pair)
    report(rendered(arguments.seed + 1, 8, arguments.model, ("street",)))


if __name__ == "__main__":
    main()
