from dataclasses import replace

import numpy as np
from completion_scene import keep, model_map, room

from leadline.completion import TemporalFusion
from leadline.depth.spaces import Space

IMAGE, DEPTH = room()
MODEL = model_map(DEPTH, Space.LOG_DEPTH)
OTHER_IMAGE = np.ascontiguousarray(255 - IMAGE[:, ::-1])
NOTHING = np.zeros_like(DEPTH)


def note(result):
    return result.meta["completion"]["temporal"]


def worst(result, depth=DEPTH):
    return float(np.median(np.abs(result.depth_m - depth) / depth))


def test_scale_and_shift_carry_over_when_points_are_few():
    stream = TemporalFusion()
    stream.complete(IMAGE, MODEL, keep(DEPTH, 400))
    single = stream.complete(IMAGE, MODEL, keep(DEPTH, 1, seed=3))
    assert note(single) == "own points and memory"
    assert worst(single) < 0.01
    alone = TemporalFusion().complete(IMAGE, MODEL, keep(DEPTH, 1, seed=3))
    assert worst(single) < worst(alone)


def test_no_points_uses_the_memory_and_not_forever():
    stream = TemporalFusion(max_age=2)
    stream.complete(IMAGE, MODEL, keep(DEPTH, 400))
    for _ in range(2):
        carried = stream.complete(IMAGE, MODEL, NOTHING)
        assert carried.metric
        assert note(carried) == "memory"
        assert worst(carried) < 0.01
    assert not stream.complete(IMAGE, MODEL, NOTHING).metric
    assert not TemporalFusion().complete(IMAGE, MODEL, NOTHING).metric


def test_a_cut_has_no_lag():
    stream = TemporalFusion()
    for _ in range(5):
        stream.complete(IMAGE, MODEL, keep(DEPTH, 400))
    far = (DEPTH * 4).astype(np.float32)
    cut = stream.complete(OTHER_IMAGE, model_map(far, Space.LOG_DEPTH), keep(far, 5))
    assert note(cut) == "cut"
    assert worst(cut, far) < 0.1
    assert not stream.complete(IMAGE, MODEL, NOTHING).metric  # a cut without points has nothing to carry


def test_points_that_contradict_the_memory_replace_it():
    stream = TemporalFusion()
    stream.complete(IMAGE, MODEL, keep(DEPTH, 400))
    far = (DEPTH * 3).astype(np.float32)
    changed = stream.complete(IMAGE, MODEL, keep(far, 40))
    assert note(changed) == "contradiction"
    assert worst(changed, far) < 0.05


def test_an_outlier_among_few_points_does_not_move_the_stream():
    stream = TemporalFusion()
    stream.complete(IMAGE, MODEL, keep(DEPTH, 400))
    few = keep(DEPTH, 3, seed=5)
    few.flat[np.flatnonzero(few)[0]] *= 6
    spoiled = stream.complete(IMAGE, MODEL, few)
    assert worst(spoiled) < 0.1
    assert worst(stream.complete(IMAGE, MODEL, NOTHING)) < 0.02


def test_another_space_starts_anew():
    stream = TemporalFusion()
    stream.complete(IMAGE, MODEL, keep(DEPTH, 400))
    assert not stream.complete(IMAGE, model_map(DEPTH, Space.DISPARITY), NOTHING).metric
    stream.reset()
    assert not stream.complete(IMAGE, replace(MODEL, meta={}), NOTHING).metric
