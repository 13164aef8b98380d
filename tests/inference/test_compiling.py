"""Compiled stages: the same maps, one graph for a bucket of batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_bundle

from leadline.inference.compiling import CompiledStage, bucket, compile_stages
from leadline.inference.estimator import DepthEstimator


def test_buckets_are_powers_of_two():
    assert [bucket(count) for count in (1, 2, 3, 4, 5, 16, 17)] == [1, 2, 4, 4, 8, 16, 32]


def test_batches_of_one_bucket_share_a_graph():
    seen: list[tuple[int, ...]] = []

    def backend(graph, inputs):  # torch.compile calls this once for every graph it makes
        seen.append(tuple(inputs[0].shape))
        return graph.forward

    offset = torch.ones(1, 3)
    stage = CompiledStage(lambda batch, more: batch * 2 + more, replayed=False, backend=backend)
    for count in (5, 8, 6, 7):
        batch = torch.arange(count * 3.0).view(count, 3)
        assert torch.equal(stage(batch, offset), batch * 2 + 1)
    assert seen == [(8, 3)]
    assert stage(torch.zeros(1, 3), offset).shape == (1, 3)
    assert seen == [(8, 3), (1, 3)]


def test_a_replayed_result_is_a_copy():
    memory = torch.zeros(2, 2)

    def stage(batch):
        return memory.copy_(batch)

    copied = CompiledStage(stage, replayed=True, backend="eager")
    first = copied(torch.ones(2, 2))
    copied(torch.zeros(2, 2))
    assert torch.equal(first, torch.ones(2, 2))


@pytest.mark.parametrize("family", ["depthfm", "depthmaster", "fiffdepth"])
def test_compiled_predictions_are_the_same(family, photo):
    plain = DepthEstimator(tiny_bundle(family), precision="fp32")
    traced = DepthEstimator(tiny_bundle(family), precision="fp32")
    stages = [(traced.codec, "encode"), (traced.model.unet, "body"), (traced.codec, "decode")]
    compile_stages(stages, torch.device("cpu"), "graphs", backend="aot_eager")
    options = {"ensemble": 3, "size": 64}
    np.testing.assert_allclose(
        traced.predict(photo, **options).values, plain.predict(photo, **options).values, atol=2e-5
    )  # fmt: skip
    assert isinstance(traced.model.unet.body, CompiledStage)


@pytest.mark.slow
def test_compiled_by_inductor(photo):
    compiled = DepthEstimator(tiny_bundle("depthfm"), precision="fp32", compiled="graphs")
    assert compiled.warm_up(*photo.shape[:2], steps=2) > 0.0
    plain = DepthEstimator(tiny_bundle("depthfm"), precision="fp32")
    np.testing.assert_allclose(compiled.predict(photo, steps=2).values, plain.predict(photo, steps=2).values, atol=2e-5)
