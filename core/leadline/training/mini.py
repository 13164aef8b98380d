"""Everything behind the mini weights, in order: `leadline train mini`.

Scenes are rendered, the autoencoder is trained on them, latents are cached, FiffDepth is trained from scratch, and the
other models start from it. Every stage finds what is finished and goes on from there.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.native import load_model, save_codec, save_model
from leadline.checkpoints.small_codecs import (
    MINI_DECODER,
    MINI_ENCODER,
    load_small_decoder,
    load_small_encoder,
    save_small_decoder,
    save_small_encoder,
)
from leadline.scenes.layouts import BY_NAME
from leadline.training.base import MODEL_FILE, respec
from leadline.training.build import trainer_config
from leadline.training.curves import plot_curves
from leadline.training.run import LATENTS, run
from leadline.training.small_decoder import SMALL_DECODER_FILE
from leadline.training.small_encoder import SMALL_ENCODER_FILE
from leadline.training.trainer import is_finished

CODEC_FILE = "mini-codec.safetensors"
TRUNK_FILE = "fiffdepth-mini.safetensors"
#: Of float16's 10 bits: the scores of docs/mini-weights.md stay the same in every digit.
MANTISSA_BITS = 7
LICENCE = "Apache-2.0"
#: Share of each size of crops, by "HxW".
Crops: TypeAlias = Mapping[str, float]
#: Of scenes that were rendered small.
SMALL: Crops = {"128x192": 0.5, "192x256": 0.3, "96x256": 0.2}
#: Whole pictures, at the size at which FiffDepth and DepthMaster see photographs by themselves.
WHOLE: Crops = {"216x288": 1.0}

UNET: dict[str, Any] = {
    "sample_size": 32, "block_out_channels": [64, 96, 160], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 32, "attention_head_dim": 5,  # diffusers' name for the number of heads
    "norm_num_groups": 16, "use_linear_projection": True,
}  # fmt: skip

#: What keeps a network from trusting the renderer's textures and light.
OTHER_LOOKS = {"filters": 0.2, "development": 0.5, "jpeg": 0.25}

#: What DepthMaster leaves as FiffDepth has it, so that its file need not hold it.
SHARED = ["down_blocks", "mid_block"]
#: Scenes whose crops DepthMaster's second stage sees at about the scale that they were rendered at: shrunk ones blur its edges.
UNSHRUNK = ("scenes-large", "scenes-more", "whole-plain")


@dataclass(frozen=True)
class RenderJob:
    """A set of rendered scenes: folder name, number, size, seed, layout, and what is cached of each.

    Attributes:
        views, min_scale, crops: Random crops of each scene; none if ``crops`` is empty.
        whole: Nearly whole pictures of each scene, with other looks.
        other_looks: Whether the crops have them, too.
    """

    folder: str
    count: int
    height: int
    width: int
    seed: int
    views: int = 0
    min_scale: float = 1.0
    crops: Crops = field(default_factory=dict)
    layout: str | None = None
    whole: int = 1
    other_looks: bool = False


def _of_layout(layout: str, count: int, seed: int, crops: Crops = SMALL) -> RenderJob:
    """Small pictures of one layout, six crops of each."""
    folder = f"scenes-{layout.replace('_', '-')}"
    return RenderJob(folder, count, 144, 192, seed, views=6, min_scale=0.6, crops=crops, layout=layout)


#: What the shipped weights were trained on. A network overfits the crops of a scene long before it has learnt the scene: many of each help.
SCENES = (
    RenderJob("scenes-large", 3000, 192, 256, seed=1, views=6, min_scale=0.6,
              crops={"128x192": 0.3, "192x256": 0.5, "96x256": 0.2}),
    RenderJob("scenes-small", 8000, 144, 192, seed=2, views=4, min_scale=0.7,
              crops={"128x192": 0.6, "192x256": 0.15, "96x256": 0.25}, whole=0),
    RenderJob("scenes-wide", 1000, 96, 320, seed=3, views=2, min_scale=0.75,
              crops={"128x192": 0.3, "96x320": 0.7}, layout="street", whole=0),
    _of_layout("cellar", 2100, seed=21, crops={"128x192": 0.6, "192x256": 0.2, "96x256": 0.2}),
    _of_layout("still_life", 2100, seed=22, crops={"128x192": 0.65, "192x256": 0.25, "96x256": 0.1}),
    _of_layout("alongside", 2600, seed=23, crops={"128x192": 0.6, "192x256": 0.25, "96x256": 0.15}),
    _of_layout("open_box", 1600, seed=24, crops={"128x192": 0.65, "192x256": 0.25, "96x256": 0.1}),
    _of_layout("yard", 1200, seed=41),
    _of_layout("lounge", 1200, seed=42),
    _of_layout("bathroom", 700, seed=51),
    _of_layout("kitchen", 500, seed=52),
    _of_layout("classroom", 500, seed=53),
    _of_layout("shop", 500, seed=54),
    _of_layout("workplace", 500, seed=55),
    RenderJob("scenes-more", 2200, 192, 256, seed=4, views=6, min_scale=0.6,
              crops={"128x192": 0.4, "192x256": 0.4, "96x256": 0.2}),
    RenderJob("scenes-fine", 2400, 240, 320, seed=91, views=6, min_scale=0.65,
              crops={"128x192": 0.05, "192x256": 0.3, "96x320": 0.15, "240x320": 0.5}),
    RenderJob("scenes-again", 4300, 144, 192, seed=5, views=6, min_scale=0.6, crops=SMALL),
    RenderJob("whole-fine", 3300, 240, 320, seed=1001, whole=3),
    RenderJob("whole-plain", 7500, 192, 256, seed=3000, whole=3),
    RenderJob("whole-later", 12000, 192, 256, seed=6001, whole=2),
    RenderJob("whole-wide", 2500, 104, 340, seed=4001, views=2, min_scale=0.8, crops={"96x320": 1.0}, layout="street", whole=0,
              other_looks=True),
    RenderJob("whole-newest", 8500, 192, 256, seed=20001, whole=2),
    *(RenderJob(f"whole-{layout.replace('_', '-')}", 700, 240, 320, seed=2001 + number, layout=layout, whole=2)
      for number, layout in enumerate(BY_NAME)),
    RenderJob("scenes-small-encoder", 700, 240, 320, seed=50001, whole=0),
)  # fmt: skip


def stages(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configured trainings in order, by folder name, with all files below ``root``."""
    codec = str(root / "autoencoder" / "codec.safetensors")
    cropped, seen_whole = [job for job in SCENES if job.crops], [job for job in SCENES if job.whole]
    caches = [str(root / f"latents-{job.folder}") for job in cropped]
    whole = [str(root / f"whole-{job.folder}") for job in seen_whole]
    sparse = [str(root / f"sparse-{job.folder}") for job in SCENES[:1]]
    large = [{"kind": "rendered", "root": str(root / SCENES[0].folder)}]
    unshrunk = [{"kind": "rendered", "root": str(root / job.folder)} for job in SCENES if job.folder in UNSHRUNK]

    def trainer(**changes: Any) -> dict[str, Any]:
        return {
            "batch_size": 16, "warmup": 100, "decay": "cosine", "final_lr_ratio": 0.02, "weight_decay": 0.01,
            "ema": 0.999, "precision": "bf16", "save_every": 100, "log_every": 25, "preview_every": 500, **changes,
        }  # fmt: skip

    yield (
        "autoencoder",
        {
            "recipe": "autoencoder",
            "loss": {"kl": 1e-4, "gradient": 1.0, "hint": 0.3},
            "data": {
                "sets": large, "target": ["log_depth", "sqrt_disparity"], "sizes": [[96, 96]],
                "augmentation": {"min_scale": 0.5, "colour": 0.6},
            },
            "trainer": trainer(
                steps=1300, batch_size=8, lr=2e-3, warmup=30, final_lr_ratio=0.05, ema=0.99, weight_decay=0.0, seed=0
            ),
        },
    )  # fmt: skip
    for job in cropped:
        how = {"min_scale": job.min_scale, "colour": 0.7, "frame": 0.15, **(OTHER_LOOKS if job.other_looks else {})}
        yield f"latents-{job.folder}", latents(root, codec, job, job.crops, job.views, how)
    for job in seen_whole:
        how = {"min_scale": 0.85, "colour": 0.8, "plain": 0.4, "frame": 0.12, **OTHER_LOOKS}
        yield f"whole-{job.folder}", latents(root, codec, job, WHOLE, job.whole, how)
    data = {
        "sets": large, "targets": [], "sizes": [[128, 192], [192, 256]], "views": 1, "sparse": True, "seed": 9,
        "augmentation": {"min_scale": 0.6, "colour": 0.7},
    }  # fmt: skip
    yield "sparse-scenes-large", {"recipe": LATENTS, "codec": codec, "data": data}
    trunk, first, flow = (str(root / stage / MODEL_FILE) for stage in ("fiffdepth", "depthmaster-stage1", "depthfm"))
    reader = str(root / "small-decoder" / SMALL_DECODER_FILE)
    finer = {"128x192": 0.35, "192x256": 0.35, "96x256": 0.12, "96x320": 0.08, "240x320": 0.1}
    with_whole = {"128x192": 0.3, "192x256": 0.33, "96x256": 0.12, "96x320": 0.08, "240x320": 0.1, "216x288": 0.07}
    mostly_whole = {"216x288": 0.8, "96x320": 0.2}
    small, fine = {"default_size": 256}, {"default_size": 288}
    yield (
        "small-decoder",
        {
            "recipe": "small-decoder", "codec": codec, "loss": {"width": 48, "blocks": 3},
            "data": {"latents": caches, "target": "sqrt_disparity", "sizes": {"128x192": 1.0}},
            "trainer": trainer(steps=500, batch_size=8, lr=2e-3, warmup=30, ema=0.99, weight_decay=0.0, seed=8),
        },
    )  # fmt: skip
    yield (
        "fiffdepth-latents",
        {
            "recipe": "fiffdepth", "name": "fiffdepth-mini", "licence": LICENCE, "codec": codec,
            "model": {**fine, "unet": UNET, "space": "sqrt_disparity"}, "loss": {"keep_share": 0.0625},
            "data": {"latents": [*caches, *whole], "target": "sqrt_disparity", "sizes": with_whole},
            "trainer": trainer(steps=38900, batch_size=32, lr=1e-3, warmup=200, seed=3),
        },
    )  # fmt: skip
    yield (
        "fiffdepth",
        {
            "recipe": "fiffdepth", "name": "fiffdepth-mini", "licence": LICENCE, "start_from": str(root / "fiffdepth-latents" / MODEL_FILE),
            "model": fine, "loss": {"keep_share": 0.0625, "weight_aligned": 4.0, "reader": reader},
            "data": {"latents": [*caches, *whole], "target": "sqrt_disparity", "sizes": mostly_whole},
            "trainer": trainer(steps=4100, batch_size=32, optimiser="muon", lr=6e-4, warmup=60, ema=0.995, seed=10),
        },
    )  # fmt: skip
    yield (
        "depthfm-latents",
        {
            "recipe": "depthfm", "name": "depthfm-mini", "licence": LICENCE, "start_from": trunk, "model": small,
            "loss": {"start_share": 0.5, "squared": False},
            "data": {"latents": caches, "target": "log_depth", "sizes": finer},
            "trainer": trainer(steps=16700, batch_size=32, lr=8e-4, seed=5),
        },
    )  # fmt: skip
    yield (
        "depthfm",
        {
            "recipe": "depthfm", "name": "depthfm-mini", "licence": LICENCE, "start_from": str(root / "depthfm-latents" / MODEL_FILE),
            "model": fine, "loss": {"start_share": 0.6, "squared": False, "weight_aligned": 4.0, "reader": reader},
            "data": {"latents": [*caches, *whole], "target": "log_depth", "sizes": mostly_whole},
            "trainer": trainer(steps=5700, batch_size=32, optimiser="muon", lr=6e-4, warmup=60, ema=0.995, seed=13),
        },
    )  # fmt: skip
    yield (
        "depthmaster-stage1",
        {
            "recipe": "depthmaster-stage1", "name": "depthmaster-stage1-mini", "licence": LICENCE, "start_from": trunk,
            "model": {**fine, "frozen": SHARED}, "loss": {"weight_aligned": 4.0, "reader": reader},
            "data": {"latents": [*caches, *whole], "target": "sqrt_disparity", "sizes": mostly_whole},
            "trainer": trainer(steps=150, batch_size=32, lr=2e-4, warmup=20, ema=0.98, seed=41),
        },
    )  # fmt: skip
    yield (
        "depthmaster-stage2",
        {
            "recipe": "depthmaster-stage2", "name": "depthmaster-mini", "licence": LICENCE, "start_from": first,
            "model": {**fine, "frozen": SHARED}, "loss": {"weight_gradient": 1e-3, "delta": 0.2, "identity_start": True},
            "data": {"sets": unshrunk, "sizes": [[144, 216]], "augmentation": {"min_scale": 0.6, "colour": 0.7}},
            "trainer": trainer(steps=90, batch_size=8, lr=2e-4, warmup=20, ema=0.98, seed=7),
        },
    )  # fmt: skip
    yield (
        "completion",
        {
            "recipe": "completion", "name": "depthfm-mini-completion", "licence": LICENCE, "start_from": flow,
            "model": small, "data": {"latents": sparse, "target": "log_depth", "sizes": {"128x192": 0.6, "192x256": 0.4}},
            "trainer": trainer(steps=500, lr=6e-4, warmup=20, ema=0.99, seed=6),
        },
    )  # fmt: skip
    sharp = {
        "sets": [{"kind": "rendered", "root": str(root / "scenes-small-encoder")}], "sizes": [[128, 192]],
        "augmentation": {"min_scale": 0.5, "colour": 0.8, **OTHER_LOOKS},
    }  # fmt: skip
    yield (
        "small-encoder",
        {
            "recipe": "small-encoder", "codec": codec, "data": sharp,
            "trainer": trainer(steps=1500, batch_size=8, lr=3e-3, warmup=30, final_lr_ratio=0.05, ema=0.99, weight_decay=0.0, seed=8),
        },
    )  # fmt: skip


def latents(
    root: Path, codec: str, job: RenderJob, crops: Crops, views: int, augmentation: dict[str, float]
) -> dict[str, Any]:
    """Configuration of a cache: so many random views of every scene of a set, encoded."""
    data = {
        "sets": [{"kind": "rendered", "root": str(root / job.folder)}], "targets": ["sqrt_disparity", "log_depth"],
        "sizes": [[int(side) for side in size.split("x")] for size in crops], "shares": list(crops.values()),
        "views": views, "seed": job.seed, "augmentation": augmentation,
    }  # fmt: skip
    return {"recipe": LATENTS, "codec": codec, "data": data}


def train_mini(root: Path, quick: bool = False, processes: int = 1, report: Callable[[str], None] = print) -> None:
    """Render, train and pack all mini models below ``root``; run it again to go on where it stopped.

    Args:
        root: Where everything goes; the shipped form ends up in ``root/packed``.
        quick: A handful of pictures and steps: shows that everything works, not how well.
        processes: Training processes of each stage (data parallel on CPU); the shipped weights used 2.
        report: Gets progress lines.
    """
    root.mkdir(parents=True, exist_ok=True)
    for job in SCENES:
        report(f"== {job.folder}")
        render(job, root, 12 if quick else None, processes)
    for name, config in stages(root):
        settings = shortened(config) if quick else config
        report(f"== {name}")
        if settings["recipe"] != LATENTS and is_finished(root / name, trainer_config(settings)):
            report("finished before")
        elif processes == 1 or settings["recipe"] == LATENTS:
            run(settings, root / name, report)
        else:
            run_in_processes(settings, root / name, processes)
    report("== packed")
    pack(root, root / "packed")
    trained = [root / name for name, config in stages(root) if config["recipe"] != LATENTS]
    plot_curves(trained, root / "curves.png")


def render(job: RenderJob, root: Path, count: int | None, workers: int) -> None:
    """Render a set of scenes into its folder; finished shards stay."""
    command = [sys.executable, "-m", "leadline.scenes", "--count", str(count or job.count)]
    command += ["--height", str(job.height), "--width", str(job.width), "--seed", str(job.seed)]
    command += ["--out", str(root / job.folder), "--workers", str(workers)]
    if job.layout is not None:
        command += ["--layout", job.layout]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def run_in_processes(config: dict[str, Any], out: Path, processes: int) -> None:
    """One training by several CPU processes of this machine, one thread each: far fewer barriers than threads."""
    import yaml  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "-m"]
        command += ["leadline.training.launch", str(path), str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if not torch.cuda.is_available():
            environment["ACCELERATE_USE_CPU"] = "true"
        subprocess.run(command, check=True, env=environment)


def shortened(config: dict[str, Any]) -> dict[str, Any]:
    """The same training with three steps of two samples."""
    short = copy.deepcopy(config)
    if "trainer" in short:
        short["trainer"].update(steps=3, batch_size=2, save_every=0, preview_every=0, log_every=1)
    return short


def pack(root: Path, out: Path) -> None:
    """The shipped form: four packed models, DepthMaster without what it shares with FiffDepth, and their codec."""
    for name in ("fiffdepth", "depthmaster-stage2", "depthfm", "completion"):
        bundle = load_model(root / name / MODEL_FILE)
        base = TRUNK_FILE if name == "depthmaster-stage2" else None
        pack_model(bundle, out / f"{bundle.spec.name}.safetensors", base)
    save_codec(bundle, out / CODEC_FILE)
    save_small_decoder(load_small_decoder(root / "small-decoder" / SMALL_DECODER_FILE), out / MINI_DECODER.name)
    save_small_encoder(load_small_encoder(root / "small-encoder" / SMALL_ENCODER_FILE), out / MINI_ENCODER.name)


def pack_model(bundle: ModelBundle, path: Path, base_file: str | None = None) -> None:
    """One model beside the shared codec, and beside the model whose tensors it need not repeat."""
    respec(bundle, source="trained on procedural scenes by `leadline train mini`; see docs/mini-weights.md")
    save_model(bundle, path, codec_file=CODEC_FILE, base_file=base_file, mantissa_bits=MANTISSA_BITS)
