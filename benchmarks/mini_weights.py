"""The held-out scenes of docs/mini-weights.md: `python benchmarks/mini_weights.py --out FOLDER [--model NAME]`.

Renders 100 scenes of seed 9999 into the folder, which takes seconds, and scores the shipped models on the first 40 or all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import leadline
from leadline.training.ablations import HELD_OUT, SCORED
from leadline.training.datasets import RenderedShards
from leadline.training.mini import render
from leadline.training.scores import score

MODELS = ("fiffdepth-mini", "depthmaster-mini", "depthfm-mini")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", help="only this one; may be repeated")
    parser.add_argument("--count", type=int, default=SCORED, help="how many of the 100 scenes")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, nargs="+", default=[1], help="for models that take several")
    parser.add_argument("--decoder", default="full", help="full, small or a file")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    render(HELD_OUT, arguments.out, None, arguments.threads)
    scenes = RenderedShards(arguments.out / HELD_OUT.folder, arguments.count)
    print("| model | steps | members | AbsRel | δ1 | boundary F1 | error where unsure | in metres |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.model or MODELS:
        model = leadline.load(name, decoder=arguments.decoder)
        for steps in arguments.steps if model.stochastic else [1]:
            for members in arguments.members:
                s = score(model, scenes, steps=steps, ensemble=members)
                ratios = [f"{s[key]:.2f} ×" if key in s else "" for key in ("uncertainty_ratio", "uncertainty_ratio_m")]
                print(
                    f"| {name} | {steps} | {members} | {s['abs_rel']:.4f} | {100 * s['delta1']:.2f} % "
                    f"| {s['boundary_f1']:.4f} | {ratios[0]} | {ratios[1]} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
