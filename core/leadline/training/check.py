"""What a configuration will do, before it does it: counts, batches, memory, time, and what differs from the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from leadline.benchmarking.reference import official_spec
from leadline.checkpoints.resolve import resolve
from leadline.errors import InputError, LeadlineError
from leadline.models.families import family_named
from leadline.models.unet import DepthUNet
from leadline.training.build import RECIPES, build_source, trainer_config
from leadline.training.papers import LISTED, PAPERS, PICTURES, Paper
from leadline.training.quantiles import depth_range_of
from leadline.training.run import validation_of
from leadline.training.sources import PixelSource
from leadline.training.trainer import TrainerConfig, step_generator

#: Pictures on the contact sheet.
SHOWN = 12


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        lines: For people, in order.
        counts: Pictures of each data set, in the order of the configuration.
        deviations: What differs from the paper, one line each.
    """

    lines: list[str]
    counts: list[int] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)


def check(config: Mapping[str, Any], sheet: Path | None = None, processes: int = 1, quantiles: int = 0) -> Check:
    """Look at a configuration of one of the papers' recipes and at its data; nothing is trained, no weights are read.

    Args:
        config: As :func:`leadline.training.config.load_config` gives it.
        sheet: A JPEG of pictures and targets as the training will see them; None: none.
        processes: That will train.
        quantiles: Pictures of each data set from which to work out what its ``depth_range_m`` would be; 0: do not.

    Raises:
        InputError: Something is missing, so that the training would not start.
    """
    name = config.get("recipe")
    if name not in RECIPES:
        raise InputError(f"train check knows {', '.join(RECIPES)}, not '{name}'")
    settings, source, paper = trainer_config(config), build_source(config), PAPERS[name]
    if settings.accumulate % processes:
        raise InputError(f"trainer.accumulate {settings.accumulate} cannot be shared by {processes} processes evenly")
    counts = [len(dataset) for dataset in source.datasets] if isinstance(source, PixelSource) else []
    kinds = [one["kind"] for one in config.get("data", {}).get("sets", [])] if counts else []
    batch = settings.batch_size * settings.accumulate
    seen = batch * settings.steps
    lines = [f"{kind}: {count} pictures{_why(kind, count)}" for kind, count in zip(kinds, counts, strict=True)]
    if isinstance(source, PixelSource) and source.unlabelled is not None:
        lines.append(
            f"without depth: {len(source.unlabelled)} pictures, {source.unlabelled_ratio:g} in a batch for each with depth"
        )
    lines.append(
        f"global batch: {batch} = {settings.batch_size} x {settings.accumulate}, {settings.accumulate // processes} "
        f"part(s) a process and step with {processes} process(es)"
    )
    passes = f", {seen / sum(counts):.1f} times every picture" if sum(counts) else ""
    lines.append(f"samples seen: {seen:,} in {settings.steps:,} steps{passes}".replace(",", " "))
    lines += _resources(config, settings, processes)
    if quantiles and isinstance(source, PixelSource):
        for kind, dataset in zip(kinds, source.datasets, strict=True):
            near, far = depth_range_of(dataset, quantiles)
            lines.append(
                f"{kind}: 2 and 98 % of the depth in {quantiles} pictures: depth_range_m: [{near:.3g}, {far:.3g}]"
            )
    validation = validation_of(config)
    if validation is not None:
        often = f"every {validation.every} steps" if validation.every else "with every checkpoint"
        lines.append(f"validation: {len(validation.dataset)} frames of {validation.dataset.reader.title} {often}")
    deviations = [*_data_deviations(config, source, counts, paper), *_training_deviations(config, settings, paper)]
    lines += [f"differs from the paper: {line}" for line in deviations] or [
        "nothing that is checked differs from the paper"
    ]
    if sheet is not None:
        contact_sheet(source, settings, sheet)
        lines.append(f"contact sheet: {sheet}")
    return Check(lines, counts, deviations)


def _data_deviations(config: Mapping[str, Any], source: Any, counts: Sequence[int], paper: Paper) -> list[str]:
    if not isinstance(source, PixelSource):
        return ["latents encoded before: the same crops again and again, where the papers draw them anew"]
    found = []
    sets = config["data"]["sets"]
    for section, count in zip(sets, counts, strict=True):
        if section["kind"] not in paper.pictures:
            found.append(f"{section['kind']} is no data set of the paper's ({', '.join(paper.pictures)})")
        elif count not in (paper.pictures[section["kind"]], LISTED.get(section["kind"])):
            found.append(f"{section['kind']} has {count} pictures, the paper {paper.pictures[section['kind']]}")
    missing = [kind for kind in paper.pictures if kind not in {section["kind"] for section in sets}]
    found += [f"{kind} is missing" for kind in missing]
    shares = dict(zip([s["kind"] for s in sets], np.asarray(source.weights) / np.sum(source.weights), strict=True))
    for kind, share in paper.shares.items():
        if kind in shares and abs(shares[kind] - share) > 0.01:
            found.append(f"{kind} is {shares[kind]:.2f} of the batches, in the paper {share:.2f}")
    for section, sizes in zip(sets, source.sizes, strict=True):
        wanted = paper.sizes.get(section["kind"])
        if wanted is not None and [tuple(size) for size in sizes] != [wanted]:
            found.append(f"{section['kind']} is seen at {_named(sizes)}, in the paper at {_named([wanted])}")
    found += [line for holds, line in paper.of_source(source) if not holds]
    if paper.needs_unlabelled and source.unlabelled is None:
        found.append("no pictures without depth and no teacher: the paper's step at t = -1 is left out")
    return found


def _why(kind: str, count: int) -> str:
    """The published lists' last line has no end, so that counting line ends gives one less: the number in the papers."""
    said = PICTURES.get(kind)
    return f" (the papers' {said}: `wc -l` does not count the list's last line)" if count == LISTED.get(kind) else ""


def _named(sizes: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"{height}x{width}" for height, width in sizes)


def _training_deviations(config: Mapping[str, Any], settings: TrainerConfig, paper: Paper) -> list[str]:
    found = []
    batch = settings.batch_size * settings.accumulate
    for what, ours, theirs in (
        ("the global batch", batch, paper.batch),
        ("steps", settings.steps, paper.steps),
        ("the learning rate", settings.lr, paper.lr),
        ("EMA", settings.ema, paper.ema),
        ("decay of the learning rate", settings.decay, paper.decay),
    ):
        if theirs is not None and ours != theirs:
            found.append(f"{what} is {ours}, in the paper {theirs}")
    if settings.clip > 0:
        found.append(f"gradients are clipped at a norm of {settings.clip}; no paper says so (trainer.clip: 0)")
    if settings.optimiser != "adamw" or settings.weight_decay:
        found.append(
            f"the optimiser is {settings.optimiser} with weight decay {settings.weight_decay}, in the paper Adam"
        )
    loss = {**paper.loss, **config.get("loss", {})}
    for name, theirs in paper.loss.items():
        if loss[name] != theirs:
            found.append(f"loss.{name} is {loss[name]}, in the paper {theirs}")
    if loss.get("weight_aligned"):
        found.append("loss.weight_aligned adds a term that no paper has")
    if not isinstance(config.get("start_from"), dict) and config["recipe"] in (
        "depthfm",
        "fiffdepth",
        "depthmaster-stage1",
    ):
        found.append("it does not start from Stable Diffusion")
    if config.get("model", {}).get("lora"):
        found.append("only adapters are trained, as in DepthFM's Table 7; its main results train the whole network")
    if config.get("model", {}).get("frozen"):
        found.append("parts of the network stay as they are")
    return [*found, *(line for holds, line in paper.of_config(config) if not holds)]


def _resources(config: Mapping[str, Any], settings: TrainerConfig, processes: int) -> list[str]:
    unet = _network_config(config)
    if unet is None:
        return ["memory and time: known once the model to start from is there"]
    height, width = _largest(config)
    cost = cost_of(unet, height, width, settings.checkpointing)
    copies = 5 if settings.ema > 0 else 4  # weights, gradients, Adam's two moments, the averages
    half = 0.5 if settings.precision != "no" else 1.0
    activations = cost.activation_bytes * half * settings.batch_size / 1e9
    passes = 4 if settings.checkpointing else 3
    flops = passes * cost.flops * settings.batch_size * settings.accumulate * settings.steps / processes
    hours = ", ".join(f"{flops / speed / 3600:,.0f} h on {name}".replace(",", " ") for name, speed in SPEEDS.items())
    weights = 4 * copies * cost.parameters / 1e9
    shared = f", {weights / processes:.1f} GB with FSDP" if processes > 1 else ""
    return [
        f"memory of each process: {weights:.1f} GB of weights, gradients, optimiser and averages{shared} "
        f"({cost.parameters / 1e6:.0f} M numbers), {activations:.1f} GB that the network remembers of {settings.batch_size} "
        f"picture(s) of {height}x{width}; the codec comes on top",
        f"time (network only, {passes} passes): about {hours}",
    ]


#: Operations a second that trainings reach, for estimates.
SPEEDS = {"an A100 in bf16 at 40 % of its peak": 125e12, "one CPU core": 60e9}


@dataclass(frozen=True)
class Cost:
    """Of a network for one picture: numbers, operations of a forward pass, float32 bytes remembered for the way back."""

    parameters: int
    flops: float
    activation_bytes: float


def cost_of(unet: Mapping[str, Any], height: int, width: int, checkpointing: bool = False) -> Cost:
    """Counted on tensors without content.

    Args:
        unet: Config of the network.
        height, width: Of the picture; latents are an eighth.
        checkpointing: Whether layers are run again instead of being remembered.
    """
    with torch.device("meta"):
        net = DepthUNet(unet).train()
        if checkpointing:
            net.recompute_layers()
        latents = torch.empty(1, net.in_channels, height // 8, width // 8)
        prompt = torch.empty(1, 2, net.net.config["cross_attention_dim"])
    own = {id(parameter) for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in own:
            kept[id(tensor)] = tensor
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        net(latents, 0.0, prompt)
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in kept.values()}
    return Cost(
        sum(p.numel() for p in net.parameters()), float(counter.get_total_flops()), float(sum(storages.values()))
    )


def _network_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the network that will be trained; None where only weights that are not here would say."""
    start, unet = config.get("start_from"), config.get("model", {}).get("unet")
    family, _ = RECIPES[config["recipe"]]
    if unet is None and isinstance(start, dict):
        unet = official_spec("fiffdepth").unet
    if unet is None:
        try:
            unet = resolve(start).spec.unet if start else None
        except LeadlineError:
            return None
    if unet is None:
        return None
    channels = unet.get("out_channels", 4)
    return {**unet, "in_channels": channels * family_named(family).latents_seen, "out_channels": channels}


def _largest(config: Mapping[str, Any]) -> tuple[int, int]:
    data = config.get("data", {})
    sizes = [tuple(size) for one in data.get("sets", []) for size in one.get("sizes", data.get("sizes", [[192, 256]]))]
    height, width = max(sizes, key=lambda size: size[0] * size[1], default=(192, 256))
    return int(height), int(width)


def contact_sheet(source: Any, settings: TrainerConfig, path: Path) -> None:
    """Pictures above their targets, as the first batches have them, as a JPEG; grey is what no loss looks at."""
    if not isinstance(source, PixelSource):
        raise InputError("a contact sheet needs pictures, not cached latents")
    tiles = []
    for part in range(SHOWN):
        batch = source.sample(step_generator(settings.seed, 0, 0, 2 * part), 1)
        rgb, target, known = batch["rgb"][0], batch["target"][0].expand(3, -1, -1), batch["known"][0]
        shown = torch.where(known, target, torch.zeros(()))
        tiles.append(_tile(torch.cat([rgb, shown], dim=1)))
    rows = [np.hstack(tiles[first : first + 4]) for first in range(0, len(tiles), 4)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.vstack(rows)):
        raise InputError(f"{path} cannot be written; name a .jpg or .png in a folder that exists")


def _tile(picture: Tensor, size: tuple[int, int] = (320, 240)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """BGR uint8 of one width and height, letter-boxed."""
    bgr = ((picture.flip(0).permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1) * 255).byte().numpy()
    scale = min(size[0] / bgr.shape[1], size[1] / bgr.shape[0])
    small = cv2.resize(bgr, (round(bgr.shape[1] * scale), round(bgr.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    whole = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    whole[: small.shape[0], : small.shape[1]] = small
    return whole
