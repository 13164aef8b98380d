"""The training loop: Accelerate for devices and processes, and everything random a function of the step.

A recipe is a module whose forward takes a batch and a generator and returns its losses by name, the one to minimise
under ``"loss"``. Step k draws its batches and their noise from generators seeded with (seed, k, part), whichever process
takes the part: a training that was stopped and resumed is bit for bit the one that was not, and several processes train
what one would.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from leadline.errors import CheckpointError, InputError
from leadline.extras import require
from leadline.files.whole import whole_file
from leadline.training import sharding, trackers
from leadline.training.muon import Muon
from leadline.training.schedules import learning_rate
from leadline.training.sources import Batch, BatchSource
from leadline.training.watching import Watch

CHECKPOINT_NAME = "training.pt"


class Recipe(nn.Module, ABC):
    """What is trained, and by which loss. Parameters that do not require gradients stay as they are."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses by name; ``"loss"`` is minimised."""

    def start(self, draw: Callable[[], Batch]) -> None:
        """Called once, before the first step of a new training; ``draw`` gives a batch to look at."""

    def recompute_layers(self) -> None:
        """Gradient checkpointing, for recipes that know it.

        Raises:
            InputError: This one does not.
        """
        raise InputError("this recipe knows no gradient checkpointing; leave trainer.checkpointing out")

    def shared_layers(self) -> Sequence[nn.Module]:
        """The layers that FSDP shares out one by one, each called as a module; none: its network is not shared out."""
        return ()

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures (3, H, W) in [0, 1] for the trackers."""
        return {}

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the trained weights in the form that the rest of Leadline reads."""


@dataclass(frozen=True)
class TrainerConfig:
    """How long, how fast, how often.

    Attributes:
        steps: Optimiser steps in all.
        batch_size: Samples that a process holds at once.
        accumulate: Batches whose gradients are added up for one step, by all processes together: a step takes
            batch_size × accumulate samples, however many processes there are.
        lr, warmup, decay, final_lr_ratio: See :func:`leadline.training.schedules.learning_rate`.
        optimiser: "adamw"; "adamw8bit", whose moments take a quarter of the memory (bitsandbytes); or "muon"
            (:mod:`leadline.training.muon`), which gets farther in the same steps of small networks.
        weight_decay: Of each; 0 makes AdamW Adam.
        ema: Decay of the averaged weights, which are the ones exported; 0 for none.
        clip: Largest gradient norm; 0 for no limit.
        precision: "no", "bf16" or "fp16".
        seed: Of everything random.
        save_every, log_every, preview_every: In steps; 0 for never.
        checkpointing: Gradient checkpointing: the network's layers are run again on the way back instead of being remembered. A
            third more time, a fraction of the memory, the same gradients.
        evaluate_every: Steps between evaluations; 0: with every checkpoint.
        watch: The score that is watched, lower is better; empty: the evaluation's first.
        patience: Evaluations without a new best after which the training stops; 0: never.
        export: "last" or "best": which weights are exported, those of the last step or of the best evaluation.
        trackers: Where numbers and pictures go, by Accelerate's names: "tensorboard", "wandb", "mlflow", ...
    """

    steps: int
    batch_size: int = 32
    accumulate: int = 1
    lr: float = 3e-5
    warmup: int = 100
    decay: str = "exponential"
    final_lr_ratio: float = 0.01
    optimiser: str = "adamw"
    weight_decay: float = 0.0
    ema: float = 0.0
    clip: float = 1.0
    precision: str = "no"
    seed: int = 0
    save_every: int = 500
    log_every: int = 20
    preview_every: int = 0
    checkpointing: bool = False
    evaluate_every: int = 0
    watch: str = ""
    patience: int = 0
    export: str = "last"
    trackers: Sequence[str] = ("tensorboard",)

    def __post_init__(self) -> None:
        if self.precision not in ("no", "bf16", "fp16"):
            raise InputError(f"precision is 'no', 'bf16' or 'fp16', not '{self.precision}'")
        if self.optimiser not in ("adamw", "adamw8bit", "muon"):
            raise InputError(f"optimiser is 'adamw', 'adamw8bit' or 'muon', not '{self.optimiser}'")
        if self.optimiser == "adamw8bit":
            require("bitsandbytes", "or use optimiser 'adamw'")
        if self.decay not in ("exponential", "cosine", "constant"):
            raise InputError(f"decay is 'exponential', 'cosine' or 'constant', not '{self.decay}'")
        if self.export not in ("last", "best"):
            raise InputError(f"export is 'last' or 'best', not '{self.export}'")
        if min(self.steps, self.batch_size, self.accumulate) < 1:
            raise InputError("steps, batch_size and accumulate are at least 1")
        if isinstance(self.trackers, str):
            raise InputError(f"trackers is a list, such as [tensorboard, wandb], not '{self.trackers}'")
        trackers.check_trackers(self.trackers)


def parts_of(accumulate: int, process: int, processes: int) -> range:
    """The accumulation parts of a step that one of several processes takes: the global batch stays what was written.

    Raises:
        InputError: They cannot be shared out evenly.
    """
    if accumulate % processes:
        raise InputError(
            f"trainer.accumulate is {accumulate}, which {processes} processes cannot share evenly; a step takes "
            f"batch_size x accumulate pictures, however many processes there are: make accumulate a multiple of {processes}"
        )
    return range(process, accumulate, processes)


def step_generator(seed: int, step: int, process: int, part: int) -> torch.Generator:
    """The generator of everything random in one accumulation part of one step of one process."""
    mixed = hash((seed, step, process, part)) & (2**63 - 1)  # integers hash alike in every run
    return torch.Generator().manual_seed(mixed)


def train(  # noqa: PLR0915, PLR0912  (one loop, read from top to bottom)
    recipe: Recipe,
    source: BatchSource,
    config: TrainerConfig,
    folder: Path,
    report: Callable[[str], None] = print,
    evaluate: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train ``recipe``, going on from the checkpoint in ``folder`` if there is one, and export the result there.

    Args:
        recipe: What to train; left with the weights that were exported.
        source: Draws the batches.
        config: How.
        folder: For checkpoint, logs and the exported weights.
        report: Gets a line of progress, with the time left, every ``log_every`` steps.
        evaluate: Called with the step every ``evaluate_every`` steps and at the end, with the averaged weights in place; its
            numbers are logged, kept in ``history.jsonl``, and watched. Weights of the best are in ``best.pt``.

    Raises:
        CheckpointError: The checkpoint in ``folder`` belongs to another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CHECKPOINT_NAME).exists():  # the same batch in every process, so that all start alike
        recipe.start(lambda: source.sample(step_generator(config.seed, 0, 0, 0), config.batch_size))
    if config.checkpointing:
        recipe.recompute_layers()
    AcceleratorState._reset_state()  # the precision of a training before in this process
    accelerator = Accelerator(
        mixed_precision=config.precision, log_with=trackers.for_accelerator(config.trackers, folder) or None
    )
    shares = sharding.is_asked_for(accelerator, config.optimiser, config.precision)
    parts = parts_of(config.accumulate, accelerator.process_index, accelerator.num_processes)
    accelerator.gradient_accumulation_steps = len(parts)
    precise: Callable[[], AbstractContextManager[Any]] = nullcontext
    if shares:
        sharding.share_out(recipe, recipe.shared_layers(), accelerator.device)
        optimiser = _optimiser(recipe, config)
        network, prepared = recipe, accelerator.prepare_optimizer(optimiser)
        precise = accelerator.autocast
    else:
        optimiser = _optimiser(recipe, config)
        network, prepared = accelerator.prepare(recipe, optimiser)
    parameters = [p for p in recipe.parameters() if p.requires_grad]
    ema = EMAModel(parameters, decay=config.ema) if config.ema > 0 else None
    first = min(_resume(folder, recipe, optimiser, ema, accelerator.scaler), config.steps)
    watch = Watch(folder, config.watch, config.patience, first) if evaluate and accelerator.is_main_process else None
    rhythm = config.evaluate_every or config.save_every
    trackers.begin(accelerator, config.trackers, folder, asdict(config))

    def draw(step: int) -> list[Batch]:
        return [source.sample(step_generator(config.seed, step, 0, 2 * part), config.batch_size) for part in parts]

    recipe.train()
    done, stopped = first, False
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(draw, first)
        for step in range(first, first if is_finished(folder, config) else config.steps):
            batches = [_moved(batch, accelerator.device) for batch in upcoming.result()]
            upcoming = reader.submit(draw, min(step + 1, config.steps - 1))
            for group in prepared.param_groups:
                group["lr"] = _rate(config, step)
            sums: dict[str, Tensor] = {}
            for part, batch in zip(parts, batches, strict=True):
                sharding.travel(recipe, now=part == parts[-1])
                with accelerator.accumulate(network):  # gradients travel between processes with the last part only
                    with precise():
                        losses = network(batch, step_generator(config.seed, step, 0, 2 * part + 1))
                    accelerator.backward(losses["loss"])  # a share of it: it knows the number of parts
                for name, value in losses.items():
                    added = value.detach().float() / len(parts)
                    sums[name] = sums[name] + added if name in sums else added
            if config.clip > 0:
                accelerator.clip_grad_norm_(parameters, config.clip)
            prepared.step()
            prepared.zero_grad()
            if ema is not None:
                ema.step(parameters)
            done = step + 1
            losses_now = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))  # one wait a step
            if not math.isfinite(losses_now["loss"]):
                raise InputError(f"the loss became {losses_now['loss']} at step {done}; lower lr or use precision 'no'")
            if accelerator.is_main_process:
                _log(accelerator, config, step, (time.perf_counter() - started) / (done - first), losses_now, report)
            if config.preview_every and done % config.preview_every == 0:
                with _averaged(recipe, ema):
                    if accelerator.is_main_process:
                        trackers.log_pictures(accelerator, recipe.preview(batches[0]), done)
            if config.save_every and done % config.save_every == 0 and done < config.steps:
                _save(accelerator, folder, done, recipe, optimiser, ema)
            if (rhythm and done % rhythm == 0) or done == config.steps:
                if evaluate is not None:
                    with _averaged(recipe, ema):
                        if watch is not None:
                            _evaluate(accelerator, recipe, evaluate, done, report, watch)
                if watch is not None and watch.wants_to_stop:
                    accelerator.set_trigger()
                if config.patience and accelerator.check_trigger():  # in all processes at once
                    report(f"no better for {config.patience} evaluations: stopped at step {done}")
                    stopped = True
                    break
    if done > first:
        _save(accelerator, folder, done, recipe, optimiser, ema, stopped)
    recipe.eval()
    if ema is not None:
        ema.copy_to(parameters)
    sharding.make_whole(recipe)
    if accelerator.is_main_process:
        best = watch.best_weights() if watch is not None and config.export == "best" else None
        if best is not None:
            _put(recipe, best)
        recipe.export(folder)
    accelerator.wait_for_everyone()
    for tracker in accelerator.trackers:  # not end_training(), which ends the processes' group, too
        tracker.finish()


def _moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``; a GPU copies it from pinned memory while it goes on computing."""
    if device.type != "cuda":
        return {name: value.to(device) for name, value in batch.items()}
    return {name: value.pin_memory().to(device, non_blocking=True) for name, value in batch.items()}


def is_finished(folder: Path, config: TrainerConfig) -> bool:
    """Whether ``folder`` holds the end of this training."""
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return False
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return int(state["step"]) >= config.steps or (config.patience > 0 and bool(state.get("stopped")))


def _optimiser(recipe: Recipe, config: TrainerConfig) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in recipe.named_parameters() if p.requires_grad]
    if config.optimiser == "muon":
        return Muon(named, lr=config.lr, weight_decay=config.weight_decay)
    if config.optimiser == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit  # noqa: PLC0415  (an optional package)

        optimiser: torch.optim.Optimizer = AdamW8bit(
            [p for _, p in named], lr=config.lr, weight_decay=config.weight_decay
        )
        return optimiser
    return torch.optim.AdamW([p for _, p in named], lr=config.lr, weight_decay=config.weight_decay)


def _rate(config: TrainerConfig, step: int) -> float:
    return learning_rate(step, config.lr, config.steps, config.warmup, config.decay, config.final_lr_ratio)


def _log(
    accelerator: Accelerator,
    config: TrainerConfig,
    step: int,
    seconds: float,
    losses: dict[str, float],
    report: Callable[[str], None],
) -> None:
    done = step + 1
    if not config.log_every or (done % config.log_every and done != config.steps):
        return
    accelerator.log({**losses, "lr": _rate(config, step), "seconds_per_step": seconds}, step=done)
    left = seconds * (config.steps - done)
    parts = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
    report(f"step {done}/{config.steps}  {parts}  {seconds:.2f} s/step  {left / 60:.1f} min left")


@contextmanager
def _averaged(recipe: Recipe, ema: EMAModel | None) -> Iterator[None]:
    """Inside, the network does not train and has the averaged weights, whole. To be entered by all processes."""
    parameters = [p for p in recipe.parameters() if p.requires_grad]
    if ema is not None:
        ema.store(parameters)
        ema.copy_to(parameters)
    recipe.eval()
    try:
        with torch.no_grad(), sharding.whole_weights(recipe):
            yield
    finally:
        recipe.train()
        if ema is not None:
            ema.restore(parameters)


def _evaluate(
    accelerator: Accelerator,
    recipe: Recipe,
    evaluate: Callable[[int], dict[str, float]],
    step: int,
    report: Callable[[str], None],
    watch: Watch,
) -> None:
    scores = evaluate(step)
    watch.add(step, scores, _trained_state(recipe))
    accelerator.log({f"evaluation/{name}": value for name, value in scores.items()}, step=step)
    report(f"step {step}  " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))


def _trained_state(recipe: Recipe) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in recipe.named_parameters() if p.requires_grad}


def _save(
    accelerator: Accelerator,
    folder: Path,
    step: int,
    recipe: Recipe,
    optimiser: torch.optim.Optimizer,
    ema: EMAModel | None,
    stopped: bool = False,
) -> None:
    accelerator.wait_for_everyone()
    shares = {
        "step": step,
        "stopped": stopped,
        "parameters": _trained_state(recipe),
        "optimiser": optimiser.state_dict(),
        "ema": None if ema is None else ema.state_dict(),
        "scaler": None if accelerator.scaler is None else accelerator.scaler.state_dict(),
    }
    state = sharding.gathered(shares, keep=accelerator.is_main_process)
    if not accelerator.is_main_process:
        return
    with whole_file(folder / CHECKPOINT_NAME) as unfinished:
        torch.save(state, unfinished.path)


def _resume(folder: Path, recipe: Recipe, optimiser: torch.optim.Optimizer, ema: EMAModel | None, scaler: Any) -> int:
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return 0
    own = _trained_state(recipe)
    shared = any(hasattr(tensor, "device_mesh") for tensor in own.values())
    state = torch.load(
        path, map_location="cpu", weights_only=True, mmap=shared
    )  # mapped: no whole copy in every process
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in state["parameters"].items()}:
        raise CheckpointError(f"{path} belongs to another training; choose another folder or delete it")
    if _groups(optimiser.state_dict()) != _groups(state["optimiser"]):
        raise CheckpointError(f"{path} was trained with another optimiser; go on with that, or choose another folder")
    _put(recipe, state["parameters"])
    in_order = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    optimiser.load_state_dict(sharding.share_of_moments(state["optimiser"], in_order))
    if ema is not None and state["ema"] is not None:
        kept = state["ema"]
        if "shadow" in kept:  # as version 0.1 wrote it
            kept = {"optimization_step": kept["updates"], "shadow_params": kept["shadow"]}
        averages = [share.clone() for share in map(sharding.share_of, kept["shadow_params"], own.values())]
        ema.load_state_dict({**kept, "shadow_params": averages})
        ema.to(device=next(iter(own.values())).device)
    if scaler is not None and state["scaler"] is not None:
        scaler.load_state_dict(state["scaler"])
    return int(state["step"])


@torch.no_grad()
def _put(recipe: Recipe, weights: Mapping[str, Tensor]) -> None:
    for name, tensor in _trained_state(recipe).items():
        tensor.copy_(sharding.share_of(weights[name], tensor))


def _groups(state: dict[str, Any]) -> list[tuple[bool | None, int]]:
    """What tells the optimisers apart; not all their settings, which differ between versions of PyTorch."""
    return [(group.get("matrices"), len(group["params"])) for group in state["param_groups"]]
