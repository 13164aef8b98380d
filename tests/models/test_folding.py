"""Folding changes when things are computed, never what comes out."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest
import torch
from tiny import tiny_bundle, tiny_spec

from leadline.checkpoints.bundle import build
from leadline.inference.estimator import DepthEstimator
from leadline.models.folding import fold, folded_cross_attention, sharing_copy

FAMILIES = ["depthfm", "depthmaster", "fiffdepth"]
EXACT = {"atol": 2e-5, "rtol": 1e-5}


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [2, 1, 5, 77])
def test_folded_equals_plain(family, tokens):
    torch.manual_seed(tokens)
    plain = build(tiny_spec(family), torch.randn(1, tokens, 16)).model
    folded = sharing_copy(plain)
    fold(folded)
    z, noise = torch.randn(3, 4, 9, 6), torch.randn(3, 4, 9, 6)
    for steps in (1, 2, 4) if plain.stochastic else (1,):
        torch.testing.assert_close(folded.solve(z, steps, noise), plain.solve(z, steps, noise), **EXACT)


@torch.inference_mode()
@pytest.mark.parametrize("tokens", [2, 3])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_cross_attention_alone(tokens, heads):
    spec = tiny_spec("fiffdepth")
    spec = type(spec)(**{**spec.__dict__, "unet": {**spec.unet, "attention_head_dim": heads}})
    model = build(spec, torch.randn(1, tokens, 16)).model
    attention = model.unet.net.mid_block.attentions[0].transformer_blocks[0].attn2
    x = torch.randn(2, 10, attention.to_q.in_features)
    expected = attention(x, model.prompt.expand(2, -1, -1))
    torch.testing.assert_close(folded_cross_attention(attention, model.prompt)(x), expected, **EXACT)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_original_does_not_notice(family, photo):
    bundle = tiny_bundle(family)
    before = {name: tensor.clone() for name, tensor in bundle.model.state_dict().items()}
    DepthEstimator(bundle, precision="bf16").predict(photo)
    after = bundle.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", FAMILIES)
def test_estimators_agree(family, photo):
    plain = DepthEstimator(tiny_bundle(family), precision="fp32", fold_constants=False).predict(photo, ensemble=3)
    folded = DepthEstimator(tiny_bundle(family), precision="fp32").predict(photo, ensemble=3)
    np.testing.assert_allclose(folded.values, plain.values, atol=2e-5)


def test_a_sharing_copy_takes_no_memory_for_weights():
    bundle = tiny_bundle("fiffdepth")
    copy = sharing_copy(bundle.model)
    for original, copied in zip(bundle.model.parameters(), copy.parameters(), strict=True):
        assert original.data_ptr() == copied.data_ptr()
        assert original is not copied


def test_two_threads_with_different_steps_do_not_disturb_each_other():
    model = sharing_copy(tiny_bundle("depthfm").model)
    fold(model)
    z, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        expected = {steps: tiny_bundle("depthfm").model.solve(z, steps, noise) for steps in (1, 2, 3, 5)}
    wrong = []

    def work(steps: int) -> None:
        with torch.inference_mode():
            for _ in range(5):
                if not torch.allclose(model.solve(z, steps, noise), expected[steps], atol=2e-5):
                    wrong.append(steps)

    threads = [Thread(target=work, args=(steps,)) for steps in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
