"""What `--speed realtime` gives and costs: `python benchmarks/realtime.py quality --out FOLDER [--dev FOLDER]`, `... speed` or `... both`.

quality: AbsRel and boundary F1 of full and realtime models, with and without `edges`, on 40 held-out scenes, which are rendered into
--out, and on a folder of NAME.jpg or .png beside NAME.depth.npz. speed: `predict` for a 640×480 camera, every backend and precision.
both: for each realtime model, with and without `edges`, the very same estimator's AbsRel and boundary F1 on --dev beside the full
model's, and its frames a second and latency there: whole calls of `predict`, for those photographs cut to 640×512, by turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import leadline.threads

leadline.threads.prepare()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import leadline  # noqa: E402
from leadline.depth.prediction import DepthPrediction  # noqa: E402
from leadline.files.image import read_image  # noqa: E402
from leadline.inference.devices import cpu_computes_bf16  # noqa: E402
from leadline.inference.estimator import DepthEstimator  # noqa: E402
from leadline.inference.openvino_stages import openvino_version  # noqa: E402
from leadline.training.ablations import HELD_OUT, SCORED  # noqa: E402
from leadline.training.datasets import RenderedShards  # noqa: E402
from leadline.training.mini import render  # noqa: E402
from leadline.training.scores import score  # noqa: E402

MODELS = ("fiffdepth-mini", "depthmaster-mini", "depthfm-mini")
SIZES = (320, 512)


@dataclass
class Detailed:
    """An estimator that is always asked for the same detail."""

    estimator: DepthEstimator
    detail: Any

    def predict(self, image: Any, **options: Any) -> DepthPrediction:
        return self.estimator.predict(image, detail=self.detail, **options)


class Frames:
    """Photographs with measured depth, of a folder."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.depth.npz"))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        path = self._paths[index]
        name = path.name.removesuffix(".depth.npz")
        picture = next(p for p in sorted(path.parent.glob(f"{name}.*")) if p.suffix in {".jpg", ".png"})
        depth_m = np.load(path)["depth"].astype(np.float32)
        return SimpleNamespace(rgb=np.asarray(read_image(picture)), depth_m=depth_m, valid=depth_m > 0)


def quality(models: list[str], out: Path, dev: Path | None, precision: str, backend: Any) -> None:
    render(HELD_OUT, out, None, torch.get_num_threads())
    data: dict[str, Any] = {"held-out scenes": RenderedShards(out / HELD_OUT.folder, SCORED)}
    if dev is not None:
        data["real frames"] = Frames(dev)
    print("| model | run as | detail | " + " | ".join(f"{name}: AbsRel | δ1 | boundary F1" for name in data) + " |")
    print("|---|---|---|" + "---|---|---|" * len(data))
    for name in models:
        full = leadline.load(name, device="cpu")
        fast = leadline.load(name, device="cpu", speed="realtime", precision=precision, backend=backend)
        ways = [("full, fp32", full, "off")]
        ways += [(f"realtime, {precision} by {backend}", fast, detail) for detail in ("off", "edges")]
        for label, estimator, detail in ways:
            cells = []
            for samples in data.values():
                s = score(Detailed(estimator, detail), samples)  # type: ignore[arg-type]
                cells.append(f"{s['abs_rel']:.4f} | {100 * s['delta1']:.2f} % | {s['boundary_f1']:.4f}")
            print(f"| {name} | {label} | {detail} | {' | '.join(cells)} |", flush=True)


def speed(models: list[str], repeat: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, OpenVINO {openvino_version()}")
    print("| model | encoder and decoder | backend | precision | size | detail | median, ms | best | 95 % |")
    print("|---|---|---|---|---|---|---|---|---|")
    backends = ["torch"] if openvino_version() is None else ["torch", "openvino"]
    for name in models:
        for parts, backend in ((parts, backend) for parts in ("full", "small") for backend in backends):
            for precision in ("fp32", "bf16") if cpu_computes_bf16() else ("fp32",):
                chosen: dict[str, Any] = {"precision": precision, "backend": backend}
                estimator = leadline.load(name, device="cpu", encoder=parts, decoder=parts, **chosen)
                for size, detail in ((size, detail) for size in SIZES for detail in ("off", "edges")):
                    times = _milliseconds(Detailed(estimator, detail), frame, size, repeat)
                    median, best, slow = statistics.median(times), min(times), float(np.quantile(times, 0.95))
                    figures = f"{median:.1f} | {best:.1f} | {slow:.1f}"
                    print(f"| {name} | {parts} | {backend} | {precision} | {size} | {detail} | {figures} |", flush=True)


def both(models: list[str], dev: Path, precisions: list[str], backend: Any, sizes: list[int], repeat: int) -> None:
    """Speed and quality of one setting, in one table; see the file's first words."""
    frames = Frames(dev)
    pictures = [_cut(frames[i].rgb, 640, 512) for i in range(len(frames))]
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, OpenVINO {openvino_version()}")
    print(
        "| model | network | run as | detail | frames/s | latency, ms: median | 95 % | AbsRel | of the full one's | boundary F1 | of it |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        full = {name: leadline.load(name, device="cpu") for name in models}
        fast = [
            (name, leadline.load(name, device="cpu", speed="realtime", precision=precision, backend=backend))
            for name in models
            for precision in precisions
        ]
        ways = [(name, model, detail) for name, model in fast for detail in ("off", "edges")]
        ways = [*((name, model, "off") for name, model in full.items()), *ways]
        times: list[list[float]] = [[] for _ in ways]
        for turn in range(repeat + 1):  # the first one warms up
            for taken, (_, model, detail) in zip(times, ways, strict=True):
                for picture in pictures:
                    started = time.perf_counter()
                    model.predict(picture, size=size, detail=detail)  # type: ignore[arg-type]
                    if turn:
                        taken.append(1e3 * (time.perf_counter() - started))
        of_full: dict[str, dict[str, float]] = {}
        for taken, (name, model, detail) in zip(times, ways, strict=True):
            s = score(Detailed(model, detail), frames, size=size)  # type: ignore[arg-type]
            whole = of_full.setdefault(name, s)
            height, width = model.predict(pictures[0], size=size).meta["network_size"]
            label = f"{'full' if whole is s else 'realtime'}, {model.predict(pictures[0], size=size).meta['precision']} by {model.backend}"
            print(
                f"| {name} | {height}×{width} | {label} | {detail} | {1e3 / statistics.mean(taken):.1f} | {statistics.median(taken):.1f} | "
                f"{np.quantile(taken, 0.95):.1f} | {s['abs_rel']:.4f} | {s['abs_rel'] / whole['abs_rel'] - 1:+.1%} | "
                f"{s['boundary_f1']:.4f} | {s['boundary_f1'] / whole['boundary_f1'] - 1:+.0%} |",
                flush=True,
            )


def _cut(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of a picture that has this shape, resized to it."""
    rows, columns = rgb.shape[:2]
    scale = max(width / columns, height / rows)
    cut_h, cut_w = round(height / scale), round(width / scale)
    top, left = (rows - cut_h) // 2, (columns - cut_w) // 2
    middle = rgb[top : top + cut_h, left : left + cut_w]
    return np.asarray(cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _milliseconds(model: Detailed, frame: np.ndarray, size: int, repeat: int) -> list[float]:
    times = []
    for _ in range(repeat + 3):
        started = time.perf_counter()
        model.predict(frame, size=size)
        times.append(1e3 * (time.perf_counter() - started))
    return times[3:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "speed", "both"])
    parser.add_argument("-m", "--model", action="append", help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("out/realtime"), help="quality: where scenes are rendered")
    parser.add_argument("--dev", type=Path, help="quality and both: folder of photographs with measured depth")
    parser.add_argument(
        "--precision", action="append", help="quality and both: of the realtime models; may be repeated for both"
    )
    parser.add_argument("--backend", default="torch", help="quality and both: of the realtime models")
    parser.add_argument("--size", type=int, action="append", help="both: long edge; may be repeated")
    parser.add_argument(
        "--repeat",
        type=int,
        default=20,
        help="speed: predictions whose median counts; both: turns over the photographs",
    )
    arguments = parser.parse_args()
    models = arguments.model or list(MODELS)
    precisions = arguments.precision or ["fp32"]
    if arguments.what == "quality":
        if len(precisions) > 1:
            parser.error("quality takes one --precision")
        quality(models, arguments.out, arguments.dev, precisions[0], arguments.backend)
    elif arguments.what == "both":
        if arguments.dev is None:
            parser.error("both needs --dev")
        both(models, arguments.dev, precisions, arguments.backend, arguments.size or [320], arguments.repeat)
    else:
        speed(models, arguments.repeat)


if __name__ == "__main__":
    main()
