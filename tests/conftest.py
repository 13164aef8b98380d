"""Shared fixtures: the device × dtype matrix, one tolerance table, real frames where a developer has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from places import ROOT

torch.set_num_threads(1)  # tiny networks are slower on more
# How long an example takes says nothing where other programs work, too.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--runslow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --runslow"))


@pytest.fixture(scope="session")
def eval_dev() -> Path:
    """Real RGB-D frames for development; not shipped with the project."""
    folder = Path(os.environ.get("LEADLINE_EVAL_DEV", ROOT.parent / "shared" / "eval_dev"))
    if not (folder / "meta.json").exists():
        pytest.skip("the real RGB-D frames are not here (set LEADLINE_EVAL_DEV)")
    return folder


@pytest.fixture
def inference_mode() -> Iterator[None]:
    """No gradients. (As a decorator on a class, torch.inference_mode would hide its tests from pytest.)"""
    with torch.inference_mode():
        yield


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth RGB uint8 picture with edges, 45×70."""
    y, x = np.mgrid[0:45, 0:70]
    rgb = np.stack([2.5 * x + y, 180 - 2 * y + 0 * x, 60 + 60 * ((x // 9 + y // 7) % 2)], axis=-1)
    return rgb.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random networks on disk, as a user's own files."""
    from tiny import tiny_bundle

    from leadline.checkpoints.native import save_model

    folder = tmp_path_factory.mktemp("models")
    paths = {family: folder / f"{family}-tiny.safetensors" for family in ("depthfm", "depthmaster")}
    for family, path in paths.items():
        save_model(tiny_bundle(family), path)
    paths["damaged"] = folder / "damaged.safetensors"
    paths["damaged"].write_bytes(paths["depthfm"].read_bytes()[:5000])
    return paths
