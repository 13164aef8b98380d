"""Run one configured training, or encode a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from leadline.errors import InputError
from leadline.training.augment import Augmentation
from leadline.training.autoencoder import AutoencoderRecipe, save_codec_file
from leadline.training.base import DepthRecipe
from leadline.training.build import (
    AUTOENCODER,
    RECIPES,
    build_dataset,
    build_recipe,
    build_source,
    load_codec,
    trainer_config,
)
from leadline.training.config import take
from leadline.training.latents import CachePlan, target_named, write_cache
from leadline.training.trainer import step_generator, train
from leadline.training.validation import Validation

LATENTS = "latents"


def run(config: Mapping[str, Any], out: Path, report: Callable[[str], None] = print) -> None:
    """Train by ``config`` (or encode, for the recipe "latents") into ``out``, going on from what is there."""
    if config["recipe"] == LATENTS:
        encode(config, out, report)
        return
    settings = trainer_config(config)
    validation = validation_of(config)
    for line in left_out(config):
        report(line)
    recipe, source = build_recipe(config), build_source(config)
    evaluate = None
    if validation is not None:
        assert isinstance(recipe, DepthRecipe)
        watched = recipe
        settings = replace(settings, evaluate_every=validation.every or settings.evaluate_every)

        def evaluate(step: int) -> dict[str, float]:
            return validation.scores(watched)

    train(recipe, source, settings, out, report, evaluate)
    if config["recipe"] == AUTOENCODER:
        assert isinstance(recipe, AutoencoderRecipe)
        recipe.to("cpu")
        batches = [source.sample(step_generator(settings.seed, settings.steps, 0, part), 8) for part in range(8)]
        recipe.codec.latent_scale = recipe.measure_scale(batches)
        save_codec_file(recipe.codec, out / "codec.safetensors")
        report(f"latent scale {recipe.codec.latent_scale:.4f}")


def left_out(config: Mapping[str, Any]) -> list[str]:
    """Terms of a paper's loss that a configuration has nothing for, a line each."""
    name, found = config["recipe"], []
    if name == "fiffdepth" and config.get("teacher") is None:
        found.append("no teacher: FiffDepth's step at t = -1 is left out (teacher and data.unlabelled bring it)")
    if name == "depthmaster-stage1" and config.get("encoder") is None:
        found.append("no encoder: DepthMaster's feature alignment is left out (encoder brings it)")
    return found


def validation_of(config: Mapping[str, Any]) -> Validation | None:
    """The section ``validation``, if there is one.

    Raises:
        InputError: The recipe trains no model that it can score, or the trainer asks for scores without it.
    """
    section, trainer = config.get("validation"), config.get("trainer", {})
    if section is None:
        if trainer.get("patience") or trainer.get("export") == "best":
            raise InputError("trainer.patience and trainer.export: best look at scores; add a validation section")
        return None
    if config["recipe"] not in RECIPES or config["recipe"] == "completion":
        raise InputError(
            f"validation scores depth from pictures alone, which {config['recipe']} does not give; leave it out"
        )
    return Validation.of(section)


def encode(config: Mapping[str, Any], out: Path, report: Callable[[str], None] = print) -> None:
    """Encode a data set into ``out``: section ``data`` says which, how often and for which targets."""
    if not config.get("codec"):
        raise InputError("codec is missing; give the codec.safetensors of an autoencoder training")
    path = Path(config["codec"])
    section = take(
        config.get("data", {}),
        "data",
        {
            "sets": [],
            "targets": ["sqrt_disparity"],
            "sizes": [[192, 256]],
            "shares": None,
            "views": 1,
            "augmentation": {},
            "sparse": False,
            "seed": 0,
            "bf16": True,
            "worker": [0, 1],
        },
    )
    if len(section["sets"]) != 1:
        raise InputError("data.sets must name one data set; encode each into a folder of its own")
    sizes = [(int(h), int(w)) for h, w in section["sizes"]]
    sparse = section["sparse"]
    if not isinstance(sparse, bool) and not (isinstance(sparse, float) and 0 < sparse <= 1):
        raise InputError(f"data.sparse is true, false, or a share of the pixels such as 0.02, not {sparse}")
    plan = CachePlan(
        targets={name: target_named(name) for name in section["targets"]},
        sizes=sizes,
        shares=section["shares"] or [1.0] * len(sizes),
        views=section["views"],
        augmentation=Augmentation.of(section["augmentation"]),
        sparse=sparse,
        seed=section["seed"],
    )
    codec = load_codec(path).to("cuda" if torch.cuda.is_available() else "cpu")
    share, of = section["worker"]
    dataset = build_dataset(**section["sets"][0])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    write_cache(
        codec, dataset, plan, out, digest, bf16=section["bf16"], report=report, which=lambda chunk: chunk % of == share
    )
