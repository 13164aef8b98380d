"""`--quality` asks the model."""

from __future__ import annotations

from typing import get_args

import pytest

from leadline.checkpoints.capabilities import all_capabilities
from leadline.checkpoints.presets import Quality, Sampling, preset
from leadline.checkpoints.quality import refuse_misfits, sampling
from leadline.errors import CheckpointError, InputError


@pytest.mark.parametrize(
    ("model", "quality", "expected"),
    [
        ("depthfm-mini", "fast", Sampling(1, 1)), ("depthfm-mini", None, Sampling(None, 1)),
        ("depthfm-mini", "fine", Sampling(4, 4)), ("fiffdepth-mini", "fast", Sampling(1, 1)),
        ("fiffdepth-mini", "fine", Sampling(1, 4)),
    ],
)  # fmt: skip
def test_each_model_has_its_own_meaning(model, quality, expected):
    assert sampling(model, quality) == expected


def test_what_is_given_wins():
    assert sampling("depthfm-mini", "fine", steps=2) == Sampling(2, 4)
    assert sampling("depthfm-mini", "fine", ensemble=2) == Sampling(4, 2)


def test_misfits_are_told():
    with pytest.raises(InputError, match="takes exactly 1"):
        sampling("fiffdepth-mini", steps=2)
    with pytest.raises(CheckpointError, match="no model or file"):
        sampling("nosuch", "fine")


def test_every_quality_fits_every_model():
    """Also what a server reports of them, which is the same."""
    models = [model for model in all_capabilities().values() if model.output == "depth"]
    assert len(models) > 5
    for model in models:
        for quality in get_args(Quality):
            steps, ensemble = preset(quality, model)
            refuse_misfits(model, steps)
            assert ensemble == (4 if quality == "fine" else 1)
