"""Compiled stages: the same maps, one graph for a bucket of batches."""

from __future__ import annotations

import time
from threading import Thread

import numpy as np
import pytest
import torch
from tiny import tiny_bundle
from torch import nn

from leadline.inference.compiling import CompiledStage, bucket, compile_stages, largest_bucket
from leadline.inference.estimator import DepthEstimator
from leadline.inference.replica import Replica
from leadline.models.convolution import SizedConvolution
from leadline.models.steps import ROOM, StepTable


def test_small_batches_have_their_own_graph_and_none_is_filled_beyond_a_limit():
    assert [bucket(count) for count in (1, 2, 3, 5, 8, 9, 16, 17)] == [1, 2, 3, 5, 8, 16, 16, 24]
    for limit in range(1, 70):
        at_once = largest_bucket(limit)
        assert at_once == bucket(at_once) <= limit
        assert all(bucket(rest) <= limit for rest in range(1, at_once + 1))


def test_ten_members_run_as_eight_and_two():
    seen: list[int] = []

    estimator = DepthEstimator(tiny_bundle("depthfm"), precision="fp32")
    replica = estimator._replicas[0]
    replica._compiled = True
    solve = replica.model.solve
    replica.model.solve = lambda latents, *rest, **more: seen.append(len(latents)) or solve(latents, *rest, **more)
    estimator.predict(np.zeros((64, 64, 3), np.uint8), ensemble=10, size=64)
    assert seen == [8, 2]


def test_threads_take_turns_on_a_compiled_model(monkeypatch):
    estimator = DepthEstimator(tiny_bundle("fiffdepth"), precision="fp32")
    compiled = Replica(estimator.bundle, torch.device("cpu"), torch.float32, True, None, "kernels")
    estimator._replicas = [compiled]
    inside, most = 0, 0

    def maps(framed, *rest):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        inside -= 1
        return torch.zeros(len(framed), 1, 1, *framed[0].pixels.shape[-2:])

    monkeypatch.setattr(compiled, "_maps", maps)
    threads = [
        Thread(target=estimator.predict, args=(np.zeros((64, 64, 3), np.uint8),), kwargs={"size": 64}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_warm_up_of_a_compiled_model_gets_as_far_as_replaying(monkeypatch):
    estimator = DepthEstimator(tiny_bundle("fiffdepth"), precision="fp32", compiled="kernels")
    asked = []
    monkeypatch.setattr(estimator, "predict", lambda image, **options: asked.append((image.shape, options["size"])))
    estimator.warm_up(48, 64, size=32)
    assert asked == [((48, 64, 3), 32)] * 3


def test_more_steps_make_no_other_graph():
    """A table of timesteps has its room from the start, so that compiled code sees one shape."""
    estimator = DepthEstimator(tiny_bundle("depthfm"), precision="fp32")
    image = np.full((32, 32, 3), 90, np.uint8)
    first = estimator.predict(image, steps=1).values
    tables = [part for part in estimator.model.modules() if isinstance(part, StepTable)]
    shapes = [table.rows.shape for table in tables]
    rows = [table.rows.data_ptr() for table in tables]
    for steps in (2, 3, 5):
        estimator.predict(image, steps=steps)
    assert [table.rows.shape for table in tables] == shapes
    assert [table.rows.data_ptr() for table in tables] == rows
    np.testing.assert_array_equal(estimator.predict(image, steps=1).values, first)
    estimator.predict(image, steps=ROOM + 9)  # and grows when it must
    np.testing.assert_array_equal(estimator.predict(image, steps=1).values, first)


def test_batches_of_one_bucket_share_a_graph():
    seen: list[tuple[int, ...]] = []

    def backend(graph, inputs):  # torch.compile calls this once for every graph it makes
        seen.append(tuple(inputs[0].shape))
        return graph.forward

    offset = torch.ones(1, 3)
    stage = CompiledStage(lambda batch, more: batch * 2 + more, replayed=False, backend=backend)
    for count in (9, 16, 12, 15):
        batch = torch.arange(count * 3.0).view(count, 3)
        assert torch.equal(stage(batch, offset), batch * 2 + 1)
    assert seen == [(16, 3)]
    assert stage(torch.zeros(1, 3), offset).shape == (1, 3)
    assert seen == [(16, 3), (1, 3)]


def test_a_replayed_result_is_a_copy():
    memory = torch.zeros(2, 2)

    def stage(batch):
        return memory.copy_(batch)

    copied = CompiledStage(stage, replayed=True, backend="eager")
    first = copied(torch.ones(2, 2))
    copied(torch.zeros(2, 2))
    assert torch.equal(first, torch.ones(2, 2))


def test_a_transformed_convolution_is_compiled_before_its_thread_has_room_for_filters():
    """Threads make that room when they first need it, which may be while their stage is traced."""
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 128, 3, padding=1).requires_grad_(False)
    stage = CompiledStage(SizedConvolution(conv).forward, replayed=False, backend="eager")
    images = torch.randn(1, 128, 32, 32).contiguous(memory_format=torch.channels_last)
    got: list[torch.Tensor] = []

    def work() -> None:
        with torch.inference_mode():
            got.append(stage(images))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    torch.testing.assert_close(got[0], conv(images), atol=1e-4, rtol=0)


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
