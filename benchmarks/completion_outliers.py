"""What wrong points cost completion: `python benchmarks/completion_outliers.py --root PAIRS [--model fiffdepth-mini]`.

The protocol of `leadline eval completion --outliers`, and beside it the same points with the wrong ones taken out by hand: the
first growth is against all points right, the second against the right points alone, which no judge of points can beat.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import leadline
from leadline.completion import complete
from leadline.evaluation.completion import DEFAULT_PATTERNS, score_hidden, with_outliers
from leadline.evaluation.datasets import open_dataset
from leadline.evaluation.scoring import scored_region
from leadline.evaluation.sparse import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--model", default="fiffdepth-mini")
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", action="store_true", help="print every frame")
    parser.add_argument("--pattern", action="append", help="only this one; may be repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = open_dataset("pairs", arguments.root)
    model = leadline.load(arguments.model)
    scores: dict[str, list[list[float]]] = {pattern: [] for pattern in arguments.pattern or DEFAULT_PATTERNS}
    for index, frame in enumerate(data.frames):
        one = data.load(index)
        if one.depth_m is None or not one.metric:
            continue
        truth = np.where(scored_region(one, data.reader.rules), one.depth_m, 0.0).astype(np.float32)
        prediction = model.predict(one.image)
        for pattern, rows in scores.items():
            points = sample(pattern, truth, arguments.seed, one.intrinsics)
            spoiled = with_outliers(points, arguments.share, arguments.seed)
            right = np.where(spoiled == points, points, np.float32(0))
            hidden = (truth > 0) & (points == 0)
            rmse = []
            for sparse in (points, right, spoiled):
                made = complete(one.image, prediction, sparse)
                rmse.append(score_hidden(made.depth_m, made.uncertainty, truth, hidden)["rmse_share"] or np.nan)
            rows.append(rmse)
            if arguments.frames:
                print(f"{pattern:8} {frame.name:24}", " ".join(f"{value:.4f}" for value in rmse), flush=True)
    print("| points | all right | wrong ones taken out | wrong ones in | growth | growth over taken out |")
    print("|---|---|---|---|---|---|")
    for pattern, rows in scores.items():
        clean, without, spoilt = np.mean(rows, axis=0)
        print(
            f"| {pattern} | {clean:.4f} | {without:.4f} | {spoilt:.4f} "
            f"| {100 * (spoilt / clean - 1):+.0f} % | {100 * (spoilt / without - 1):+.0f} % |"
        )


if __name__ == "__main__":
    main()
