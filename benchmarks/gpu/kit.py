"""The parts of benchmarks/gpu/run.sh: each measures, says what must hold, and is written down before the next begins."""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from around import against_diffusers, completion, layout, node, stabiliser
from setting import Part, Setting

import leadline
from leadline.benchmarking.measure import Case, ceiling_gflops, measure, stage_gflops
from leadline.benchmarking.reference import official_bundle
from leadline.benchmarking.stream import run_stream
from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.files.output import write_json
from leadline.inference import replica as replicas
from leadline.inference.estimator import DepthEstimator
from leadline.serving.client.local import LocalServer
from leadline.training.run import run as train

MINIS = ("depthfm-mini", "depthmaster-mini", "fiffdepth-mini")
#: Parts that have not begun by then are left out.
LIMIT_S = 560.0


def true_float32(setting: Setting) -> dict[str, Any]:
    """fp32 there equals fp32 on a CPU: TF32 is off."""
    picture = setting.picture(setting.size // 2, setting.size // 2)
    worst = {}
    for name in MINIS:
        maps = [
            leadline.load(name, device=device, precision="fp32").predict(picture, ensemble=1, size=0).values
            for device in ("cpu", setting.device)
        ]
        worst[name] = float(np.abs(maps[0] - maps[1]).max() / np.ptp(maps[0]))
    return {"worst_of_range": worst, "holds": max(worst.values()) <= 1e-4}


def half_precision(setting: Setting) -> dict[str, Any]:
    """How far bf16 and fp16 are from fp32: fp16 must be the closer one, as "auto" believes."""
    picture = setting.picture(setting.size // 2, setting.size // 2)
    rows = []
    for name in MINIS[-1:] if setting.dry else MINIS:
        exact = leadline.load(name, device=setting.device, precision="fp32").predict(picture, ensemble=1, size=0).values
        for precision in ("bf16", "fp16"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # CPUs without bf16 say that they are slow
                model = leadline.load(name, device=setting.device, precision=precision)
            difference = np.abs(model.predict(picture, ensemble=1, size=0).values - exact) / np.ptp(exact)
            rows.append(
                {
                    "model": name,
                    "precision": precision,
                    "mean": difference.mean().item(),
                    "max": difference.max().item(),
                }
            )
    fp16, bf16 = (max(r["mean"] for r in rows if r["precision"] == p) for p in ("fp16", "bf16"))
    return {"rows": rows, "holds": fp16 <= bf16}


def speed(setting: Setting) -> dict[str, Any]:
    """Official size and a mini, eager and compiled, beside the eager reference and the measured ceiling."""
    ceiling = ceiling_gflops(setting.device, "auto", 1 if setting.dry else 3)
    models = ["fiffdepth-mini"] if setting.dry else ["fiffdepth-mini", "fiffdepth-official", "depthfm-official"]
    rows = []
    for name in models:
        bundle = official_bundle(name.removesuffix("-official")) if name.endswith("official") else None
        encode, step, decode = stage_gflops(name, setting.size)
        picture = setting.picture(setting.size, setting.size)
        against = measure(Case(name, setting.size, device=setting.device, repeat=1 if setting.dry else 3))
        eager: dict[int, np.ndarray] = {}
        for mode in ("off", "kernels", "graphs"):
            model: DepthEstimator = (
                leadline.load(name, device=setting.device, compiled=mode)
                if bundle is None
                else DepthEstimator(bundle, device=setting.device, compiled=mode)
            )
            for ensemble in (1,) if setting.dry or not model.stochastic else (1, 4, 5):
                seconds = setting.median_s(partial(model.predict, picture, ensemble=ensemble, size=0))
                values = model.predict(picture, ensemble=ensemble, size=0).values
                plain = eager.setdefault(ensemble, values)  # the first mode is eager
                rows.append(
                    {
                        "model": name, "size": setting.size, "compiled": mode, "ensemble": ensemble, "seconds": seconds,
                        "share_of_ceiling": (encode + ensemble * (step + decode)) / seconds / ceiling,
                        "times_eager_reference": against.reference_s / seconds if ensemble == 1 else None,
                        "differs_from_eager": float(np.abs(values - plain).max()),
                    }
                )  # fmt: skip
            del model
    worst = max(row["differs_from_eager"] for row in rows)
    return {"ceiling_gflops": ceiling, "rows": rows, "holds": worst < 0.05}


def memory(setting: Setting) -> dict[str, Any]:
    """A budget holds, and running out of memory halves the batch instead of failing."""
    budget = 2 * 10**9
    model = leadline.load("depthfm-mini", device=setting.device, memory_budget=budget)
    picture = setting.picture(setting.size, setting.size)
    ensemble = 2 if setting.dry else 40
    if setting.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    expected = model.predict(picture, ensemble=ensemble, size=0).values
    peak = 0 if setting.device == "cpu" else torch.cuda.max_memory_reserved()
    free = leadline.load("depthfm-mini", device=setting.device)
    real, refused = free._replicas[0]._maps, []

    def short_of_memory(*arguments: Any) -> Any:
        if arguments[-1] > ensemble // 2:
            refused.append(arguments[-1])
            raise torch.OutOfMemoryError
        return real(*arguments)

    free._replicas[0]._maps = short_of_memory  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        halved = free.predict(picture, ensemble=ensemble, size=0).values
    difference = float(np.abs(halved - expected).max() / np.ptp(expected))
    return {
        "budget": budget, "peak": peak, "refused": refused, "difference": difference,
        "holds": peak <= budget and bool(refused) and difference < 1e-2,
    }  # fmt: skip


def two_threads(setting: Setting) -> dict[str, Any]:
    """Two threads on one compiled model get what one alone gets."""
    model = leadline.load("fiffdepth-mini", device=setting.device, compiled="graphs")
    pictures = [setting.picture(setting.size, setting.size), 255 - setting.picture(setting.size, setting.size)]
    model.warm_up(setting.size, setting.size, size=0)
    alone = [model.predict(picture, size=0).values for picture in pictures]

    def work(which: int) -> float:
        seen = [model.predict(pictures[which], size=0).values for _ in range(setting.repeat)]
        return max(float(np.abs(values - alone[which]).max()) for values in seen)

    with ThreadPoolExecutor(2) as threads:
        worst = list(threads.map(work, range(2)))  # raises what a thread raised
    return {"worst": worst, "holds": max(worst) < 1e-4}


def stream(setting: Setting) -> dict[str, Any]:
    """A 1080p camera at 30 Hz, in this process and through a server."""
    picture = setting.picture(60, 80) if setting.dry else setting.picture(1080, 1920)
    seconds, rate = (0.5, 4.0) if setting.dry else (10.0, 30.0)
    size = 64 if setting.dry else 512
    model = leadline.load("fiffdepth-mini", device=setting.device)
    model.warm_up(*picture.shape[:2], ensemble=1, size=size)
    own = run_stream(lambda k: model.predict(picture, ensemble=1, size=size), rate, seconds)
    with LocalServer(models=["fiffdepth-mini"], device=setting.device) as server, server.client() as client:
        client.predict(picture, ensemble=1, size=size)
        served = run_stream(lambda k: client.predict(picture, ensemble=1, size=size), rate, seconds, own_work=False)
    return {"estimator": own.as_record(), "server": served.as_record(), "holds": setting.dry or own.dropped == 0}


def training(setting: Setting) -> dict[str, Any]:
    """Steps a second of distilling a small encoder, pictures drawn on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        depth_m = np.fromfunction(lambda k, y, x: 2.0 + k + y / 40 + x / 60, (4, 96, 128)).astype(np.float32)
        rgb = np.stack([setting.picture(96, 128)] * 4)
        np.savez(root / "a.npz", rgb=rgb, depth_m=depth_m, valid=np.ones(depth_m.shape, dtype=bool))
        steps = 2 if setting.dry else 200
        config = {
            "recipe": "small-encoder", "codec": str(MINI_FOLDER / "fiffdepth-mini.safetensors"), "through": ["fiffdepth-mini"],
            "data": {"sets": [{"kind": "rendered", "root": str(root)}], "target": ["log_depth"], "sizes": [[96, 128]]},
            "trainer": {"steps": steps, "batch_size": 2 if setting.dry else 16, "save_every": 0, "log_every": 0},
        }  # fmt: skip
        started = time.perf_counter()
        train(config, root / "run", lambda line: None)
        seconds = time.perf_counter() - started
    return {"steps_per_s": steps / seconds, "holds": True}


PARTS: dict[str, Part] = {
    part.__name__: part
    for part in (
        true_float32,
        half_precision,
        memory,
        two_threads,
        completion,
        stabiliser,
        node,
        stream,
        speed,
        layout,
        against_diffusers,
        training,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(PARTS))
    arguments = parser.parse_args()
    setting = Setting("cpu" if arguments.dry_run else "cuda", arguments.dry_run)
    if setting.dry:
        replicas.compile_stages = partial(replicas.compile_stages, backend="eager")  # no compiler needed, no minutes
    elif not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here; --dry-run does every part on the CPU")
    machine = "dry run on a CPU: no figure means anything" if setting.dry else torch.cuda.get_device_name()
    record: dict[str, Any] = {"machine": machine, "torch": torch.__version__, "parts": {}}
    began = time.perf_counter()
    for name in arguments.only or PARTS:
        started = time.perf_counter()
        if not setting.dry and started - began > LIMIT_S:
            result: dict[str, Any] = {"holds": None, "left_out": "no time was left"}
        else:
            try:
                result = PARTS[name](setting)
            except Exception as error:  # one part must not take the others with it
                result = {"holds": False, "error": f"{type(error).__name__}: {error}"}
        record["parts"][name] = {**result, "seconds_taken": time.perf_counter() - started}
        write_json(arguments.out / "gpu.json", record)
        print(
            f"{name}: {'holds' if result['holds'] else result.get('error') or result.get('left_out') or result}",
            flush=True,
        )
    lines = ["| part | holds | seconds |", "|---|---|---|"]
    lines += [f"| {n} | {p['holds']} | {p['seconds_taken']:.0f} |" for n, p in record["parts"].items()]
    (arguments.out / "gpu.md").write_text("\n".join([machine, "", *lines]) + "\n")
    raise SystemExit(0 if all(part["holds"] for part in record["parts"].values()) else 1)


if __name__ == "__main__":
    main()
