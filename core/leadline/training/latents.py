"""Latents cached on disk: pictures and depth encoded once, so that training steps only run the network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from leadline.completion.conditioning import as_picture, sparse_condition
from leadline.depth.spaces import Space
from leadline.errors import CheckpointError, InputError
from leadline.files.whole import whole_file
from leadline.models import Codec
from leadline.training.aligned import sampled
from leadline.training.augment import Augmentation, augment
from leadline.training.conditions import share_of, thin_out
from leadline.training.datasets import RgbdDataset, RgbdSample
from leadline.training.normalisation import Normalisation, latent_mask
from leadline.training.sources import LatentSource, image_to_tensor
from leadline.training.tuned import TARGETS

#: Changes when the tensors of a cache do.
_FORMAT = 2
#: What a cache holds beside its targets; the last is for completion.
_OTHERS = ("image", "mask", "sampled_m", "condition")


@dataclass(frozen=True)
class CachePlan:
    """What is encoded of every sample.

    Attributes:
        targets: Depth pictures by name ("sqrt_disparity" ...).
        sizes: Picture sizes (H, W) with their share of the views.
        shares: See ``sizes``.
        views: Random crops of every sample.
        augmentation: How crops are made.
        sparse: Also encode sparse depth, and normalise targets by it: for the completion model. True: as many kinds of
            sensors see it; a number: this share of the pixels.
        seed: Of the crops.
    """

    targets: Mapping[str, Normalisation]
    sizes: Sequence[tuple[int, int]] = ((192, 256),)
    shares: Sequence[float] = (1.0,)
    views: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    sparse: bool | float = False
    seed: int = 0

    def identity(self) -> str:
        """Everything that the cached numbers depend on, as text."""
        return f"{_FORMAT} {json.dumps(asdict(self), sort_keys=True, default=str)}"


@torch.no_grad()
def encode_views(
    codec: Codec, dataset: RgbdDataset, indices: Sequence[int], plan: CachePlan, batch: int = 8, bf16: bool = False
) -> dict[str, Tensor]:
    """Latents of random views of some samples, float16, by "HxW/name".

    Names: "image", every target, "mask" (bool, cells whose depth is known everywhere), "sampled_m" (metres at every fourth
    pixel, 0 where unknown) and, with ``plan.sparse``, "condition" (dense sparse depth and distance, one after the other).
    """
    device = next(codec.parameters()).device
    pending: dict[tuple[int, int], list[dict[str, Tensor]]] = {size: [] for size in plan.sizes}
    done: dict[str, list[Tensor]] = {}

    def flush(size: tuple[int, int]) -> None:
        views = pending[size]
        if not views:
            return
        for name in views[0]:
            stacked = torch.stack([view[name] for view in views])
            if name == "mask":
                encoded = latent_mask(stacked, codec.factor)
            elif name == "sampled_m":
                encoded = stacked.half()
            else:
                pictures = stacked.flatten(0, 1) if name == "condition" else stacked
                pictures = pictures.to(device, memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    latents = codec.encode(pictures).contiguous()
                encoded = (latents.unflatten(0, (-1, 2)).flatten(1, 2) if name == "condition" else latents).half().cpu()
            done.setdefault(f"{size[0]}x{size[1]}/{name}", []).append(encoded)
        views.clear()

    shares = np.asarray(plan.shares) / np.sum(plan.shares)
    for index in indices:
        for view in range(plan.views):
            rng = np.random.default_rng((plan.seed, index, view))
            size = plan.sizes[int(rng.choice(len(plan.sizes), p=shares))]
            sample = augment(dataset[index], size, plan.augmentation, rng)
            if sample.valid.mean() < 0.05:
                continue
            pending[size].append(_pictures(sample, plan, rng))
            if len(pending[size]) == batch:
                flush(size)
    for size in plan.sizes:
        flush(size)
    return {name: torch.cat(parts) for name, parts in done.items()}


def _pictures(sample: RgbdSample, plan: CachePlan, rng: np.random.Generator) -> dict[str, Tensor]:
    known = sample.valid if sample.sky is None else sample.valid | sample.sky
    measured = np.where(sample.valid, sample.depth_m, np.float32(0))
    pictures = {
        "image": image_to_tensor(sample.rgb),
        "mask": torch.from_numpy(known.copy())[None],
        "sampled_m": torch.from_numpy(sampled(measured).copy()),
    }
    if plan.sparse:
        share, seen = plan.sparse, (sample.depth_m, sample.valid)
        sparse = sparse_condition(thin_out(*seen, rng) if share is True else share_of(*seen, float(share), rng))
        log_depth = np.log(np.where(sample.valid, sample.depth_m, 1.0))
        target = np.clip((log_depth - sparse.centre) / sparse.half_range, -1.5, 1.5).astype(np.float32)
        if sample.sky is not None:
            target[sample.sky] = 1.5
        pictures["log_depth"] = as_picture(np.where(known, target, sparse.dense))
        pictures["condition"] = sparse.pictures()
        return pictures
    for name, normalisation in plan.targets.items():
        pictures[name] = as_picture(normalisation(sample.depth_m, sample.valid, sample.sky))
    return pictures


def write_cache(
    codec: Codec,
    dataset: RgbdDataset,
    plan: CachePlan,
    folder: Path,
    codec_id: str,
    chunk: int = 100,
    bf16: bool = False,
    report: Callable[[str], None] = print,
    which: Callable[[int], bool] = lambda chunk_index: True,
) -> None:
    """Encode a data set into ``folder``, one file for every ``chunk`` samples; finished files are kept.

    Args:
        codec: Encodes.
        dataset: What to encode.
        plan: Which views of it.
        folder: Where to.
        codec_id: Says which codec this is; a cache of another codec is refused.
        chunk: Samples to a file.
        bf16: Encode under bfloat16 autocast.
        report: Gets a line for every file.
        which: Chunks to do here, for several workers.

    Raises:
        CheckpointError: ``folder`` was made with another plan or codec.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = f"{codec_id} {plan.identity()}"
    note = folder / "plan.txt"
    if note.exists() and note.read_text() != identity:
        raise CheckpointError(f"{folder} holds latents of another codec or plan; delete it or choose another folder")
    note.write_text(identity)
    for first in range(0, len(dataset), chunk):
        count = min(chunk, len(dataset) - first)
        path = folder / f"latents-{first:07d}-{count:04d}.safetensors"
        if path.exists() or not which(first // chunk):
            continue
        tensors = encode_views(codec, dataset, range(first, first + count), plan, bf16=bf16)
        with whole_file(path) as unfinished:
            save_file(tensors, unfinished.path)
        report(f"encoded {first + count}/{len(dataset)}")


def read_cache(folders: Sequence[Path], target: str, sizes_weights: Mapping[str, float] | None = None) -> LatentSource:
    """A source of batches from caches.

    Args:
        folders: Caches, all of one codec.
        target: Which depth picture becomes ``depth``.
        sizes_weights: How often a batch has a picture size ("192x256": 1.0 ...); None: by their numbers.

    Raises:
        InputError: There is nothing with that target.
    """
    parts: dict[str, dict[str, list[Tensor]]] = {}
    for folder in folders:
        for path in sorted(folder.glob("latents-*.safetensors")):
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                for size in sorted({name.split("/")[0] for name in names}):
                    if f"{size}/{target}" not in names:
                        continue
                    group = parts.setdefault(size, {})
                    for key, name in {"depth": target, **{same: same for same in _OTHERS}}.items():
                        if f"{size}/{name}" in names:
                            group.setdefault(key, []).append(file.get_tensor(f"{size}/{name}"))
    if not parts:
        raise InputError(f"no cached '{target}' latents in {', '.join(map(str, folders))}; encode them first")
    groups = {size: {key: torch.cat(tensors) for key, tensors in group.items()} for size, group in parts.items()}
    for size, whole in groups.items():
        for key, tensor in whole.items():
            if len(tensor) != len(whole["image"]):
                raise InputError(
                    f"only some of the caches' {size} views have '{key}'; encode the others again, or apart"
                )
    if sizes_weights is not None:
        groups = {size: group for size, group in groups.items() if sizes_weights.get(size, 0.0) > 0}
    weights = [len(g["image"]) if sizes_weights is None else sizes_weights[s] for s, g in groups.items()]
    return LatentSource(list(groups.values()), weights)


def target_named(name: str) -> Normalisation:
    """The papers' normalisations, by the name of their space, with the quantiles of each image.

    [-1, 1] is kept (DepthMaster); of log depth [-1.25, 1.25]. DepthFM's paper cuts nothing, but takes the quantiles of
    whole data sets, which reach farther than those of one image.
    """
    space = Space(name)
    return Normalisation(space, clip=TARGETS.sky_beyond if space is Space.LOG_DEPTH else 1.0)
