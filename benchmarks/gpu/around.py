"""Parts of the kit about what is around the network: completion, films, the ROS node; and its layout and diffusers beside it."""

from __future__ import annotations

import sys
import time
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import Setting

import leadline
from leadline.benchmarking.against_diffusers import Task, compare
from leadline.checkpoints.bundle import ModelBundle, build
from leadline.completion import complete
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.models import ModelSpec
from leadline.models.samplers import Schedule
from leadline.streaming.frames import Frame
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.settings import StreamSettings
from leadline.video.stabiliser import Stabiliser

#: Host reads in one completion, and milliseconds that the node may add to the network's.
MOST_READS, MOST_ADDED_MS = 20, 3.0


def completion(setting: Setting) -> dict[str, Any]:
    """A picture with a LiDAR's points, there and on the CPU: seconds, how far apart, and how often the host waits for the device."""
    height, width, rings, columns = (60, 80, 12, 30) if setting.dry else (480, 640, 32, 625)
    picture, depth_m = _room(height, width)
    bumps = 0.1 * np.sin(np.linspace(0, 5, width)) * np.cos(np.linspace(0, 4, height))[:, None]
    prediction = DepthPrediction((np.log(depth_m) + bumps).astype(np.float32), Space.LOG_DEPTH)
    v, u = np.linspace(1, height - 2, rings).astype(int), np.linspace(0, width - 1, columns).astype(int)
    sparse = np.zeros_like(depth_m)
    sparse[np.ix_(v, u)] = depth_m[np.ix_(v, u)]
    call = {where: partial(complete, picture, prediction, sparse, device=where) for where in ("cpu", setting.device)}
    seconds = {where: setting.median_s(one) for where, one in call.items()}
    reads = 0
    if setting.device != "cpu":
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            call[setting.device]()
        torch.cuda.set_sync_debug_mode("default")
        reads = sum("synchronizing CUDA operation" in str(one.message) for one in said)
    here, there = call["cpu"]().values, call[setting.device]().values
    apart = float(np.median(np.abs(there / here - 1)))
    return {
        "size": [height, width], "points": int((sparse > 0).sum()), "seconds": seconds, "host_reads": reads, "median_difference": apart,
        "holds": apart < 1e-3 and reads <= MOST_READS,
    }  # fmt: skip


def stabiliser(setting: Setting) -> dict[str, Any]:
    """A film of 640×480: seconds of the network and of the stabiliser, which runs on the CPU, a frame."""
    height, width, size = (60, 80, 64) if setting.dry else (480, 640, 512)
    wide, _ = _room(height, width + 64)
    model = leadline.load("fiffdepth-mini", device=setting.device)
    steady, took = Stabiliser(), {"network": [], "stabiliser": []}  # type: ignore[var-annotated]
    followed = []
    for k in range(4 if setting.dry else 40):
        picture = np.ascontiguousarray(wide[:, k : k + width])
        started = time.perf_counter()
        prediction = model.predict(picture, size=size)
        between = time.perf_counter()
        followed.append(steady.step(prediction, picture).meta["video"]["followed"])
        took["network"].append(between - started)
        took["stabiliser"].append(time.perf_counter() - between)
    seconds = {name: float(np.median(times[2:])) for name, times in took.items()}
    holds = setting.dry or (min(followed[1:]) > 0.3 and sum(seconds.values()) <= 1 / 30)
    return {"seconds": seconds, "least_followed": min(followed[1:]), "holds": holds}


def node(setting: Setting) -> dict[str, Any]:
    """What the pipeline of a stream adds to the network, and where ROS is installed a 20 Hz camera through the node."""
    height, width, size = (60, 80, 64) if setting.dry else (480, 640, 512)
    picture, _ = _room(height, width)
    settings = StreamSettings(model="fiffdepth-mini", device=setting.device, size=size)
    pipeline = DepthPipeline.load(settings)
    alone = setting.median_s(lambda: pipeline.predict([picture], settings))
    whole = setting.median_s(lambda: pipeline.process(Frame(0, picture), settings))
    added_ms = 1e3 * (whole - alone)
    ros = _through_ros(setting, size) if find_spec("rclpy") else None
    in_time = ros is None or (ros["dropped"] == 0 and ros["p95_ms"] <= 100.0)
    return {
        "network_ms": 1e3 * alone, "added_ms": added_ms, "ros": ros or "rclpy is not installed",
        "holds": setting.dry or (added_ms <= MOST_ADDED_MS and in_time),
    }  # fmt: skip


def _through_ros(setting: Setting, size: int) -> dict[str, float]:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from ros_stream import stream

    hz, frames, pictures = (1.0, 2, 1) if setting.dry else (20.0, 300, 24)
    try:
        parameters = ["model:=fiffdepth-mini", f"device:={setting.device}", f"size:={size}"]
        ages = stream(hz, frames, 0, parameters, 90.0, pictures)
    except SystemExit as error:  # what a program says that gives up; here one part of several
        raise RuntimeError(str(error)) from error
    arrived = 1e3 * np.array([age for age in ages if age is not None])
    return {
        "hz": hz, "frames": len(ages), "dropped": len(ages) - len(arrived),
        "median_ms": float(np.median(arrived)), "p95_ms": float(np.percentile(arrived, 95)),
    }  # fmt: skip


def layout(setting: Setting) -> dict[str, Any]:
    """Kernels that only change an image's layout, eager and compiled, and what computes attention: one prediction of four members."""
    picture, ensemble = setting.picture(setting.size, setting.size), 1 if setting.dry else 4
    activities = [torch.profiler.ProfilerActivity.CPU]
    if setting.device != "cpu":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    rows = {}
    for mode in ("off", "kernels"):
        model = leadline.load("depthfm-mini", device=setting.device, compiled=mode)  # type: ignore[arg-type]
        for _ in range(2):
            model.predict(picture, ensemble=ensemble, size=0)
        with torch.profiler.profile(activities=activities) as profile:
            model.predict(picture, ensemble=ensemble, size=0)
            setting.wait()
        on_device = [e for e in profile.events() if str(e.device_type).endswith("CUDA")]
        changes = [e for e in on_device if any(w in e.name.lower() for w in ("nchwtonhwc", "nhwctonchw"))]
        rows[mode] = {
            "kernels": len(on_device),
            "layout_changes": len(changes),
            "share_of_time": sum(e.time_range.elapsed_us() for e in changes)
            / max(sum(e.time_range.elapsed_us() for e in on_device), 1e-9),
            "attention": sorted({e.name for e in profile.events() if "scaled_dot_product" in e.name}),
        }
    holds = bool(rows["off"]["attention"]) and rows["kernels"]["layout_changes"] <= rows["off"]["layout_changes"]
    return {**rows, "holds": holds}


def against_diffusers(setting: Setting) -> dict[str, Any]:
    """diffusers' Marigold pipeline of the published size, the same weights and noise, both on the device; in fp32 the same map."""
    bundle = _tiny_marigold() if setting.dry else None
    rows = []
    for precision in ("fp32",) if setting.dry else ("fp32", "fp16"):
        for ensemble in (1,) if setting.dry else (1, 4):
            task = Task(setting.size, 1, ensemble, precision, None, setting.device, precision)
            compare(task, 1, False, bundle)  # chooses its kernels
            row = compare(task, 1 if setting.dry else 3, False, bundle)
            rows.append(
                {
                    "precision": precision, "ensemble": ensemble, "diffusers_s": row.diffusers_s, "ours_s": row.ours_s, "times": row.ratio,
                    "mean_difference": row.mean_difference,
                }
            )  # fmt: skip
    same = all(r["mean_difference"] < 1e-3 for r in rows if r["precision"] == "fp32" and r["ensemble"] == 1)
    return {"size": setting.size, "rows": rows, "holds": same and (setting.dry or all(r["times"] >= 1 for r in rows))}


def _room(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 and metres: a floor, a wall and a box, with texture to follow."""
    v, u = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    floor = 1.2 / np.maximum(v - 0.35, 1e-3)
    depth_m = np.minimum(floor, 5.0 + u)
    picture = np.where((floor < 5.0 + u)[..., None], [150, 140, 90], [90, 110, 160]).astype(np.float64)
    box = (np.abs(u - 0.4) < 0.15) & (np.abs(v - 0.55) < 0.2)
    depth_m[box], picture[box] = 2.0, [180, 60, 50]
    texture = np.random.default_rng(3).normal(0, 12, (height, width, 1))
    return np.clip(picture + texture, 0, 255).astype(np.uint8), depth_m.astype(np.float32)


def _tiny_marigold() -> ModelBundle:
    """Marigold's architecture, far too small for anything but a dry run."""
    unet = {
        "in_channels": 8, "out_channels": 4, "block_out_channels": [16, 32], "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": 2, "cross_attention_dim": 16, "use_linear_projection": True,
    }  # fmt: skip
    codec = {
        "block_out_channels": [8, 8, 16, 16], "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4, "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4,
    }  # fmt: skip
    schedule = Schedule(kind="ddim", spacing="trailing", zero_snr=True).settings()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(ModelSpec("marigold", Space.DEPTH, unet, codec, schedule=schedule), torch.randn(1, 2, 16))
