"""What `--speed realtime` gives and costs: `python benchmarks/realtime.py quality --out FOLDER [--dev FOLDER]`, or `... speed`.

quality: AbsRel and boundary F1 of full and realtime models, with and without `edges`, on 40 held-out scenes, which are rendered into
--out, and on a folder of NAME.jpg or .png beside NAME.depth.npz. speed: `predict` for a 640×480 camera, every backend and precision.
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


def _milliseconds(model: Detailed, frame: np.ndarray, size: int, repeat: int) -> list[float]:
    times = []
    for _ in range(repeat + 3):
        started = time.perf_counter()
        model.predict(frame, size=size)
        times.append(1e3 * (time.perf_counter() - started))
    return times[3:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "speed"])
    parser.add_argument("-m", "--model", action="append", help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("out/realtime"), help="quality: where scenes are rendered")
    parser.add_argument("--dev", type=Path, help="quality: folder of photographs with measured depth")
    parser.add_argument("--precision", default="fp32", help="quality: of the realtime models")
    parser.add_argument("--backend", default="torch", help="quality: of the realtime models")
    parser.add_argument("--repeat", type=int, default=20, help="speed: predictions whose median counts")
    arguments = parser.parse_args()
    models = arguments.model or list(MODELS)
    if arguments.what == "quality":
        quality(models, arguments.out, arguments.dev, arguments.precision, arguments.backend)
    else:
        speed(models, arguments.repeat)


if __name__ == "__main__":
    main()
