"""How far half precision is from float32: networks of the published size with random weights, on the CPU.

    python benchmarks/half_precision.py [--size 256] [--family depthmaster] [--precision bf16] ...

A GPU in half precision rounds where the CPU rounds (weights and activations; sums are float32 on both), so this says what "auto"
costs on a GPU, where there is none. Random networks amplify what they are given more than trained ones do. The picture is smooth, as
photographs are; the difference is over the range of the float32 map. "auto" must stay below 0.5 % on average.
"""

from __future__ import annotations

import argparse
import warnings

import cv2
import numpy as np

from leadline.benchmarking.against_diffusers import full_size_marigold, share_of_range
from leadline.benchmarking.reference import official_bundle
from leadline.checkpoints.bundle import ModelBundle
from leadline.inference.estimator import DepthEstimator
from leadline.types import FloatMap, RgbImage

FAMILIES = ("depthfm", "depthmaster", "fiffdepth", "marigold")


def smooth_picture(size: int) -> RgbImage:
    """uint8 (size, size, 3), always the same."""
    small = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC))


def one_map(bundle: ModelBundle, precision: str, picture: RgbImage) -> tuple[FloatMap, bool]:
    """The map of one step and one member, and whether half precision overflowed, so that it was done in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows are told below; a CPU without bf16 says that it is slow
        prediction = DepthEstimator(bundle, device="cpu", precision=precision).predict(picture, size=0, steps=1)
    return prediction.values, "retried" in prediction.meta["precision"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the square picture")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="default: all")
    parser.add_argument("--precision", action="append", choices=["bf16", "fp16"], help="default: both")
    options = parser.parse_args()
    print("| network | precision | mean | worst | overflows |\n|---|---|---|---|---|")
    picture = smooth_picture(options.size)
    for family in options.family or FAMILIES:
        bundle = full_size_marigold() if family == "marigold" else official_bundle(family)
        exact, _ = one_map(bundle, "fp32", picture)
        for precision in options.precision or ("bf16", "fp16"):
            values, overflowed = one_map(bundle, precision, picture)
            mean, worst = share_of_range(exact, values)
            told = "yes" if overflowed else "no"
            print(f"| {family} | {precision} | {100 * mean:.3f} % | {100 * worst:.2f} % | {told} |", flush=True)


if __name__ == "__main__":
    main()
